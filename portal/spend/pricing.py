"""What a call costs: exact integers, rounded once.

A price is held as nano-units per million tokens, which is an integer because the price book keeps nine fractional
digits. The cost is ``sum(tokens * price) / 10**6``, rounded half to even to a nano-unit.
"""

from dataclasses import dataclass

from portal.lib.money import half_even

MILLION = 10**6


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """One version of a model's price; the four prices are nano-units per million tokens."""

    id: int
    model: str
    effective: int  # milliseconds since 1970
    input: int
    cached_input: int
    cache_write: int
    output: int
    ceiling: int | None
    context_window: int | None

    def cost(
        self,
        *,
        input_tokens: int,
        output_tokens: int,
        cached_input_tokens: int = 0,
        cache_write_tokens: int = 0,
    ) -> int:
        """Return the cost in nano-units. Cached and cache-write tokens are parts of the input tokens."""
        plain = input_tokens - cached_input_tokens - cache_write_tokens
        total = (
            plain * self.input
            + cached_input_tokens * self.cached_input
            + cache_write_tokens * self.cache_write
            + output_tokens * self.output
        )
        return half_even(total, MILLION)

    def most_for(self, input_tokens: int, output_tokens: int) -> int:
        """Return the most that so many tokens can cost, whichever class the input turns out to be."""
        dearest = max(self.input, self.cached_input, self.cache_write)
        return half_even(input_tokens * dearest + output_tokens * self.output, MILLION)
