"""Money as integers of nano-units (1e-9 of the organization's currency).

Floats appear nowhere: `Decimal` at the edges, `int` inside. The cost of a call is the exact sum over its token
classes, rounded once, half to even, to a nano-unit.
"""

from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation

NANO = 10**9
# The largest amount the product accepts, in nano-units; it fits a Postgres bigint.
MAX_NANO = 9 * 10**18
_EXACT = Context(prec=60)

_SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹", "CHF": "CHF ", "CNY": "CN¥"}


def to_nano(amount: Decimal | str | int) -> int:
    """Return the exact number of nano-units; raise ValueError for more than nine fractional digits or a huge one."""
    try:
        value = Decimal(amount)
    except (InvalidOperation, TypeError, ValueError) as error:
        raise ValueError(f"{amount!r} is not an amount") from error
    if not value.is_finite():
        raise ValueError(f"{amount!r} is not an amount")
    if abs(value) > MAX_NANO // NANO:
        raise ValueError("the amount is too large")
    scaled = _EXACT.multiply(value, Decimal(NANO))
    nano = int(scaled)
    if scaled != nano:
        raise ValueError("at most nine digits after the decimal point")
    return nano


def from_nano(nano: int) -> Decimal:
    """Return the amount in units, exact."""
    return _EXACT.divide(Decimal(nano), Decimal(NANO))


def decimal_string(nano: int) -> str:
    """Return the amount as the Gateway API writes it: a plain decimal without trailing zeros."""
    if nano < 0:
        return f"-{decimal_string(-nano)}"
    whole, part = divmod(nano, NANO)
    return f"{whole}.{part:09d}".rstrip("0") if part else str(whole)


def half_even(numerator: int, denominator: int) -> int:
    """Divide two integers and round half to even; the denominator is positive."""
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and quotient & 1):
        quotient += 1
    return quotient


def currency_sign(currency: str) -> str:
    """Return the sign that stands before an amount: ``$``, ``CHF``."""
    return _SYMBOLS.get(currency, currency).strip()


def format_money(nano: int, currency: str = "USD", digits: int = 2) -> str:
    """Return the amount for a page, rounded half to even at display only: ``$1,264.38``, ``under $0.01``."""
    symbol = _SYMBOLS.get(currency, f"{currency} ")
    if digits == 2 and 0 < nano < NANO // 100:
        return f"under {symbol}0.01"
    quantum = Decimal(1).scaleb(-digits)
    value = from_nano(abs(nano)).quantize(quantum, rounding=ROUND_HALF_EVEN, context=_EXACT)
    return f"{'−' if nano < 0 else ''}{symbol}{value:,}"
