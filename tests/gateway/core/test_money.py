"""Money is integers; a float never comes in and never goes out."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.money import dollars, nanos, part


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("0.15", 150_000_000),
        ("500.00", 500_000_000_000),
        ("0.0000000001", 1),
        (3, 3_000_000_000),
        ("-1", -1_000_000_000),
    ],
)
def test_decimal_dollars_become_nano_dollars_rounded_up(amount: str | int, expected: int) -> None:
    assert nanos(amount) == expected


@pytest.mark.parametrize("amount", [0.15, True, "abc", "NaN", "Infinity", "", None])
def test_what_is_no_decimal_amount_is_refused(amount: object) -> None:
    with pytest.raises(ValueError, match=r"amount|decimal"):
        nanos(amount)  # type: ignore[arg-type]


@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_dollars_and_back_is_the_same_amount(amount: int) -> None:
    assert nanos(dollars(amount)) == amount
    assert Decimal(dollars(amount)) * 1_000_000_000 == amount


@given(st.integers(min_value=0, max_value=10**9), st.integers(min_value=0, max_value=10**12))
def test_a_part_is_rounded_up_by_less_than_one_nano_dollar(tokens: int, price: int) -> None:
    assert 0 <= part(tokens, price) * 1_000_000 - tokens * price < 1_000_000
