"""One table of rates bounds a call before it and bills it after it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgets.pricing import CLASSES, Estimate, Price, Rates, parse_price
from gateway.core.call import Usage

rate = st.integers(0, 10**12)
maybe = st.none() | rate
rates = st.builds(
    Rates,
    input=rate,
    output=rate,
    cached_input=maybe,
    cache_write=maybe,
    cache_write_long=maybe,
    input_audio=maybe,
    input_image=maybe,
    reasoning=maybe,
    output_audio=maybe,
    output_image=maybe,
    tool_use=st.integers(0, 10**8),
)
tiers = st.lists(st.tuples(st.integers(1, 5000), rates), max_size=2, unique_by=lambda tier: tier[0]).map(
    lambda found: tuple(sorted(found, key=lambda tier: tier[0]))
)
plain = st.builds(Price, rates, tiers)
prices = st.builds(Price, rates, tiers, st.dictionaries(st.sampled_from(["flex", "priority"]), plain, max_size=2))
tokens = st.integers(0, 3000)


@settings(max_examples=400, deadline=None)
@given(
    price=prices,
    usage=st.builds(
        Usage,
        input=tokens,
        cached=tokens,
        cache_write=tokens,
        cache_write_long=tokens,
        input_audio=tokens,
        input_image=tokens,
        output=tokens,
        reasoning=tokens,
        output_audio=tokens,
        output_image=tokens,
        tool_uses=st.integers(0, 3),
        service_tier=st.sampled_from(["", "flex", "priority", "unheard-of"]),
    ),
    spare=st.tuples(tokens, tokens, st.integers(0, 2)),
    says=st.booleans(),
)
def test_no_usage_within_an_estimate_costs_more_than_its_ceiling(price, usage, spare, says):
    estimate = Estimate(
        input=usage.input + spare[0],
        output=usage.output + spare[1],
        audio=bool(usage.input_audio or usage.output_audio),
        image=bool(usage.input_image or usage.output_image),
        cache_write=bool(usage.cache_write or usage.cache_write_long),
        tool_uses=usage.tool_uses + spare[2],
        service_tier=usage.service_tier if says and usage.service_tier in price.service_tiers else "",
    )
    assert price.cost(usage) <= price.ceiling(estimate)


def test_every_component_is_rounded_up_by_itself():
    price = parse_price({"input": "0.0000375", "output": "0.0000375"})
    assert price.cost(Usage(input=1)) == 1
    assert price.cost(Usage(input=1, output=1)) == 2
    assert price.cost(Usage(input=1_000_000, output=2_000_000)) == 37_500 + 75_000


def test_a_million_calls_of_one_token_cost_a_million_times_the_rounded_price():
    price = parse_price({"input": "0.0375", "output": "0"})
    assert price.cost(Usage(input=1)) * 10**6 == 38 * 10**6


def test_classes_without_a_price_are_billed_as_what_they_are_part_of():
    price = parse_price({"input": "1", "output": "2"})
    usage = Usage(input=10, cached=4, cache_write=2, input_audio=1, output=5, reasoning=3)
    assert price.cost(usage) == 10 * 1000 + 5 * 2000


def test_a_longer_input_moves_all_tokens_into_the_next_tier():
    price = parse_price({"input": "1", "output": "2", "tiers": [{"above_input_tokens": 100, "input": "3"}]})
    assert price.cost(Usage(input=100, output=1)) == 100 * 1000 + 2000
    assert price.cost(Usage(input=101, output=1)) == 101 * 3000 + 2000


def test_a_service_tier_is_a_price_list_of_its_own_and_bounds_a_call_that_may_land_in_it():
    price = parse_price({"input": "1", "output": "2", "service_tiers": {"priority": {"input": "5", "output": "9"}}})
    assert price.cost(Usage(input=1, output=1, service_tier="priority")) == 14_000
    assert price.cost(Usage(input=1, output=1, service_tier="default")) == 3000
    assert price.ceiling(Estimate(1, 1)) == 14_000
    assert price.ceiling(Estimate(1, 1, service_tier="default")) == 3000


def test_hosted_tools_are_billed_by_the_use():
    price = parse_price({"input": "1", "output": "2", "tool_use": "0.01"})
    assert price.cost(Usage(input=1, tool_uses=3)) == 1000 + 3 * 10_000_000


@pytest.mark.parametrize(
    ("given_price", "message"),
    [
        ({"inptu": "1"}, "'inptu' is not a class of tokens"),
        ({"input": 0.15}, "input: money is a decimal string"),
        ({"input": "cheap"}, "input: 'cheap' is not an amount"),
        ({"input": "-1"}, "input: a price can't be negative"),
        ({"input": "1", "tiers": [{"input": "2"}]}, "above_input_tokens must be a whole number"),
    ],
)
def test_a_wrong_price_says_what_is_wrong(given_price, message):
    with pytest.raises(ValueError, match=message):
        parse_price(given_price)


def test_there_is_a_rate_for_every_class():
    assert {name for name in Rates.__dataclass_fields__ if not name.startswith("_")} == set(CLASSES)
