"""How much a call may cost at most, before it is made: the policy ``ceiling``, which makes overshoot impossible."""

from typing import NamedTuple

from portal.spend.pricing import ModelPrice

# What one call can be estimated to cost; more than any limit can be.
MOST = 9 * 10**18


class Estimate(NamedTuple):
    """Nano-units and tokens to reserve."""

    spend: int
    tokens: int


def ceiling(
    price: ModelPrice,
    *,
    input_tokens: int | None,
    input_bytes: int | None,
    max_output_tokens: int | None,
    n: int,
) -> Estimate | None:
    """Return the most the call can cost, or None when that is not known (no cap and no ceiling).

    Output is the smaller of the call's own cap and the model's ceiling, times ``n``. Input is the tokens reported;
    else one token a byte; else the context window; else, where none is known, the ceiling.
    """
    cap, most = max_output_tokens, price.ceiling
    if cap is None or (most is not None and most < cap):
        cap = most
    if cap is None:
        cap = 0 if price.output == 0 else price.context_window
    if cap is None:
        return None
    output = cap * n
    if input_tokens is not None:
        size = input_tokens
    elif input_bytes is not None:
        size = input_bytes if price.context_window is None else min(input_bytes, price.context_window)
    elif price.context_window is not None:
        size = price.context_window
    elif price.ceiling is not None:
        # A price entered by hand may name no context window: the ceiling is the only size known of the model.
        size = price.ceiling
    else:
        return None
    return Estimate(min(price.most_for(size, output), MOST), size + output)
