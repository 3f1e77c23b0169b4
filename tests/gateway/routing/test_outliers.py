"""Targets that answer, but much more slowly than their siblings."""

from collections import Counter
from dataclasses import replace

import pytest

from gateway.routing import outliers
from gateway.routing.outliers import FOR_SECONDS, SLOW, look
from gateway.routing.plan import route_plan
from gateway.routing.stage import choose
from gateway.snapshot import TargetView
from tests.gateway.routing.sample import ask, config, model

NOW = 10_000.0
URL = "http://127.0.0.1:9/v1"


@pytest.fixture(autouse=True)
def looks_only_when_told(monkeypatch):
    """Choosing looks by the machine's own clock, which may stand anywhere beside NOW."""
    monkeypatch.setattr(outliers, "LOOK_EVERY_SECONDS", 1e12)


def planned(strategy: str, slow: float, sticky_by: str = "none", **views):
    """A route of three, and its plan; the first target's times are these seconds, the others' a tenth of one."""
    targets = [
        TargetView(model(name, URL, quality=quality), **views) for name, quality in zip("abc", (3, 2, 1), strict=True)
    ]
    routes = config(*targets, strategy=strategy, sticky_by=sticky_by)
    plan = route_plan(routes, "chat", routes.upstream.health)
    for step, seconds in zip(plan.steps, (slow, 0.1, 0.1), strict=True):
        for number in range(30):
            step.speed.note(NOW - 1 + number / 30, seconds)
    return routes, plan


def watched(plan, seconds: float = FOR_SECONDS) -> frozenset[str]:
    look(plan, NOW)
    plan.slow = look(plan, NOW + seconds)
    return plan.slow


def firsts(routes, count: int = 400) -> Counter:
    found = Counter()
    for number in range(count):
        call = replace(ask(), id=f"call-{number}")
        choose(call, routes)
        found[call.candidates[0].model] += 1
        assert {target.model for target in call.candidates} == {"a", "b", "c"}
    return found


@pytest.mark.parametrize("strategy", ["priority", "quality"])
def test_a_slow_first_target_keeps_a_quarter_of_its_calls_and_stays_a_fallback(strategy):
    routes, plan = planned(strategy, slow=1.0)
    assert watched(plan) == {"a"}
    found = firsts(routes)
    assert 70 <= found["a"] <= 130
    assert found["b"] == 400 - found["a"]


def test_in_a_split_its_weight_counts_a_quarter_and_everybody_comes_back_when_it_is_well():
    routes, plan = planned("weighted", slow=1.0, weight=1)
    before = firsts(routes)
    watched(plan)
    during = firsts(routes)
    plan.slow = frozenset()
    assert during["a"] < before["a"] / 2
    assert firsts(routes) == before


def test_who_sticks_to_a_slow_target_stays_with_it():
    routes, plan = planned("weighted", slow=1.0, weight=1, sticky_by="user")

    def homes() -> dict[str, str]:
        found = {}
        for user in (f"user-{number}" for number in range(100)):
            call = ask(user=user)
            choose(call, routes)
            found[user] = call.candidates[0].model
        return found

    before = homes()
    assert "a" in before.values()
    assert watched(plan) == {"a"}
    assert homes() == before


def test_it_is_so_only_after_half_a_minute_and_only_when_much_slower():
    _, plan = planned("priority", slow=1.0)
    assert watched(plan, seconds=FOR_SECONDS - 1) == frozenset()
    _, plan = planned("priority", slow=0.29)
    assert watched(plan) == frozenset()
    _, plan = planned("priority", slow=0.34)  # three times as slow, but a quarter of a second is nothing to move for
    assert watched(plan) == frozenset()


def test_the_decision_says_so():
    routes, plan = planned("priority", slow=1.0)
    watched(plan)
    call = ask()
    choose(call, routes)
    assert {line["model"]: line.get("why") for line in call.decision} == {"a": SLOW, "b": None, "c": None}
