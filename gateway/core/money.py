"""Money as integers: one nano-dollar is 10^-9 US dollars; prices are nano-dollars per million tokens.

A float never touches money: decimal strings come in, integers travel, decimal strings go out.
"""

from decimal import ROUND_CEILING, Decimal, InvalidOperation

NANOS = 1_000_000_000
MILLION = 1_000_000


def nanos(dollars: str | int | Decimal) -> int:
    """Nano-dollars of a decimal amount of US dollars, rounded up to the next nano-dollar.

    Raises ValueError when the amount is no finite decimal number, or is a float or a bool.
    """
    if isinstance(dollars, (float, bool)):
        raise ValueError(f"money is a decimal string, not {dollars!r}")
    try:
        amount = Decimal(dollars)
    except (InvalidOperation, TypeError, ValueError):
        raise ValueError(f"{dollars!r} is not an amount of dollars") from None
    if not amount.is_finite():
        raise ValueError(f"{dollars!r} is not an amount of dollars")
    return int((amount * NANOS).to_integral_value(rounding=ROUND_CEILING))


def dollars(amount_nanos: int) -> str:
    """The exact decimal string of an amount in nano-dollars: 1_500_000_000 is "1.5"."""
    sign = "-" if amount_nanos < 0 else ""
    whole, rest = divmod(abs(amount_nanos), NANOS)
    if not rest:
        return f"{sign}{whole}"
    return f"{sign}{whole}.{rest:09d}".rstrip("0")


def part(tokens: int, price_nanos: int) -> int:
    """Nano-dollars that `tokens` cost at `price_nanos` per million tokens, rounded up."""
    return -(-tokens * price_nanos // MILLION)
