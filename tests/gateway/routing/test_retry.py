"""How often the same target is tried again."""

import pytest

from gateway.core.errors import UpstreamUnavailable
from gateway.routing import retry
from gateway.routing.retry import RetryBudget, pause_before


def failing(kind: str, status: int | None = None, retry_after: float | None = None) -> UpstreamUnavailable:
    return UpstreamUnavailable("no", kind=kind, status=status, retry_after=retry_after)


@pytest.mark.parametrize(
    ("error", "longest"),
    [
        (failing("connect"), 0.0),
        (failing("server_error", 500), 0.1),
        (failing("server_error", 503, retry_after=1.5), 1.5),
        (failing("rate_limit", 429, retry_after=2.0), 2.0),
    ],
)
def test_what_may_pass_is_tried_again_after_a_pause(error, longest):
    assert 0.0 <= pause_before(error, 1) <= longest


@pytest.mark.parametrize(
    "error",
    [
        failing("server_error", 501),
        failing("server_error", 503, retry_after=2.1),
        failing("rate_limit", 429),
        failing("rate_limit", 429, retry_after=30),
        failing("timeout"),
        failing("bad_answer"),
        failing("auth", 401),
    ],
)
def test_what_will_not_pass_soon_or_may_have_cost_something_is_not(error):
    assert pause_before(error, 1) is None


def test_the_budget_gives_a_tenth_of_the_calls_and_a_few_a_second(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(retry.time, "monotonic", lambda: now[0])
    budget, taken = RetryBudget(), 0
    for second in range(100):
        now[0] = float(second)
        for _ in range(200):
            budget.call()
            taken += budget.take()
    assert taken <= 0.1 * 20_000 + 3 * 100
    assert taken >= 0.1 * 20_000
