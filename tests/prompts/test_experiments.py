"""Sharing out and judging: sticky places, shares that grow outwards, verdicts that hold however often one looks."""

from dataclasses import replace

import numpy as np
import pytest
from django.core.exceptions import ValidationError

from gateway.core.call import Call, Caller, Controls
from gateway.core.conditions import predicate
from gateway.edge.chat import Chat
from prompts.models import check_eligible
from prompts.rendering import compile_version
from prompts.shares import PLACES, reallocated
from prompts.snapshot import ArmView, ChannelView, ExperimentView, PromptsSnapshot, PromptView
from prompts.stage import arm_for, place, render
from prompts.statistics import Sample, chi_squared_tail, compare, interval, sample_ratio


def arms(**weights: int) -> list[dict]:
    return [{"name": name, "weight": weight} for name, weight in weights.items()]


def places_of(arm: dict) -> set[int]:
    return {at for start, end in arm["ranges"] for at in range(start, end)}


def test_raising_a_share_moves_nobody_who_was_treated():
    before = reallocated(arms(control=9_500, short=500), {"control": 9_500, "short": 500})
    after = reallocated(before, {"control": 8_000, "short": 2_000})
    assert places_of(before[1]) < places_of(after[1])
    assert places_of(after[0]) < places_of(before[0])
    back = reallocated(after, {"control": 9_000, "short": 1_000})
    assert places_of(before[1]) <= places_of(back[1]) | places_of(before[1])


@pytest.mark.parametrize("shares", [(3_333, 3_333, 3_334), (0, 10_000, 0), (1, 9_998, 1)])
def test_every_place_belongs_to_exactly_one_arm(shares):
    made = arms(a=1, b=1, c=1)
    for weights in (shares, (2_500, 2_500, 5_000), shares[::-1]):
        made = reallocated(made, dict(zip("abc", weights, strict=True)))
        assert tuple(len(places_of(arm)) for arm in made) == weights
        assert set().union(*map(places_of, made)) == set(range(PLACES))


@pytest.mark.parametrize(
    "weights", [{"a": 1}, {"a": 5_000, "b": 4_999}, {"a": -1, "b": 10_001}, {"a": 1.5, "b": 9_998.5}]
)
def test_shares_that_do_not_add_up_are_refused(weights):
    with pytest.raises(ValidationError):
        reallocated(arms(a=1, b=1), weights)


def call(user: str) -> Call:
    return Call("id", Chat(), {}, controls=Controls(user=user), caller=Caller("1", "acme", "7", "web"))


HALVES = ExperimentView("e", "user", "salt", (ArmView("a", 1, ((0, 5_000),)), ArmView("b", 2, ((5_000, 10_000),))))


def test_a_unit_always_gets_the_same_arm_and_units_spread_as_meant():
    counts = {"a": 0, "b": 0}
    for user in range(100_000):
        arm, is_counted = arm_for(call(str(user)), HALVES)
        assert is_counted
        counts[arm.name] += 1
    assert sample_ratio([counts["a"], counts["b"]], [1, 1]) > 0.001
    assert {arm_for(call("ada"), HALVES)[0].name for _ in range(50)} == {arm_for(call("ada"), HALVES)[0].name}
    assert place("salt", "ada") == 4_558


def test_a_call_without_its_unit_gets_the_control_and_is_not_counted():
    assert arm_for(call(""), HALVES) == (HALVES.arms[0], False)


@pytest.mark.parametrize(
    ("condition", "takes_part"),
    [
        ({"field": "metadata.plan", "is": "pro"}, True),
        ({"field": "metadata.plan", "is": "free"}, False),
        ({"field": "metadata.plan", "is_not": "free"}, True),
        ({"field": "metadata.other", "is": "pro"}, False),
        ({"field": "metadata.seats", "one_of": [5, 7]}, True),
        ({"field": "metadata.beta", "is": True}, True),
        ({"field": "tag", "one_of": ["blue", "red"]}, True),
        ({"field": "tag", "none_of": ["red"]}, False),
        ({"field": "key", "is": "web"}, True),
        ({"field": "team", "is": "search"}, False),
        ({"field": "user", "is_not": "u1"}, False),
        ({"field": "form", "is": "chat"}, True),
    ],
)
def test_who_may_not_take_part_gets_the_control_and_is_not_counted(condition, takes_part):
    check_eligible([condition])
    asked = call("u1")
    asked.controls = Controls(user="u1", metadata={"plan": "pro", "seats": 5, "beta": True}, tags=("red",))
    asked.caller = Caller("1", "acme", "2", "web")
    asked_of = replace(HALVES, eligible=(predicate(condition),))
    arm, is_counted = arm_for(asked, asked_of)
    assert is_counted is takes_part
    assert arm == (arm_for(asked, HALVES)[0] if takes_part else HALVES.arms[0])


@pytest.mark.parametrize(
    "wrong", [{"field": "context_tokens", "at_most": 5}, {"field": "plan", "is": "x"}, {"field": "key"}, 3]
)
def test_what_can_not_be_known_when_a_prompt_is_rendered_decides_nothing(wrong):
    with pytest.raises(ValidationError):
        check_eligible([wrong])


def test_the_tail_of_chi_squared_is_as_in_the_tables():
    found = [
        round(chi_squared_tail(x, k), 4) for x, k in ((3.841, 1), (5.991, 2), (7.815, 3), (11.07, 5), (18.307, 10))
    ]
    assert found == [0.05] * 5


def test_a_split_that_is_not_as_meant_is_found():
    assert sample_ratio([10_400, 9_600], [1, 1]) < 0.001
    assert sample_ratio([10_050, 9_950], [1, 1]) > 0.001
    assert (sample_ratio([0, 0], [1, 1]), sample_ratio([5, 1], [1, 0])) == (1.0, 0.0)


def test_arms_that_do_not_differ_are_called_different_in_at_most_five_percent_of_runs():
    chance = np.random.default_rng(7)
    false = 0
    for _ in range(1_000):
        control, treatment = chance.random((2, 2_000)) < 0.2
        false += any(
            (found := compare(sample(control[:n]), sample(treatment[:n]))) is not None and found.is_sure
            for n in range(100, 2_001, 100)
        )
    assert false <= 50


def sample(values: np.ndarray) -> Sample:
    return Sample(len(values), float(values.mean()), float(values.var(ddof=1)))


def test_an_arm_that_fails_a_fifth_more_is_found_soon():
    chance = np.random.default_rng(7)
    control, treatment = chance.random(400) < 0.02, chance.random(400) < 0.22
    found = compare(sample(control), sample(treatment))
    assert found is not None
    assert (found.is_sure, found.low > 0.05) == (True, True)
    assert compare(Sample(1, 0, 0), Sample(9, 1, 1)) is None


def test_a_call_is_rendered_from_its_arm_and_says_so():
    versions = {
        number: compile_version(f"p@{number}", number, {"messages": [{"role": "user", "content": f"v{number}"}]})
        for number in (1, 2)
    }
    prompts = PromptsSnapshot({"1": {"p": PromptView("p", versions, {"production": ChannelView(1, HALVES)})}})
    for user in ("ada", "bob", "eve", "joe"):
        asked = call(user)
        asked.controls.prompt, asked.model = "p", "chat"
        render(asked, prompts)
        arm = arm_for(asked, HALVES)[0]
        assert (asked.experiment, asked.prompt) == (f"e/{arm.name}", f"p@{arm.version}")
        assert asked.body == {"model": "chat", "messages": [{"role": "user", "content": f"v{arm.version}"}]}


def test_the_mean_of_one_arm_lies_in_its_interval_and_a_share_of_none_is_not_known_exactly():
    assert interval(Sample(1, 0.0, 0.0)) is None
    assert interval(Sample(50, 7.0, 0.0)) == (7.0, 7.0)
    low, high = interval(Sample(50, 0.0, 0.0), is_share=True)
    assert (low, 0.05 < high < 0.2) == (0.0, True)
    assert interval(Sample(50, 1.0, 0.0), is_share=True)[1] == 1.0
    chance = np.random.default_rng(3)
    missed = 0
    for _ in range(300):
        values = chance.random(1_000) < 0.1
        spans = [interval(sample(values[:n]), is_share=True) for n in range(100, 1_001, 100)]
        missed += any(not low <= 0.1 <= high for low, high in spans)
    assert missed <= 15
