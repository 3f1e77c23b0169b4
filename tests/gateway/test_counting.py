"""A worker that starts while others make the shared counters again."""

import pytest
from redis.exceptions import ConnectionError as RedisAway

from gateway import counting


class Ledger:
    is_fenced = True


class Keeper:
    """Finds the counters in force at its third turn; `turns` counts."""

    def __init__(self, ledger: Ledger, in_force_at: int = 3) -> None:
        self.ledger, self.in_force_at, self.turns = ledger, in_force_at, 0

    def turn(self) -> None:
        self.turns += 1
        self.ledger.is_fenced = self.turns < self.in_force_at


def test_it_waits_for_the_counters_instead_of_refusing_its_first_calls():
    ledger = Ledger()
    keeper = Keeper(ledger)
    counting.join(keeper, ledger)
    assert (ledger.is_fenced, keeper.turns) == (False, 3)


def test_it_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(counting, "JOIN_SECONDS", 0.0)
    ledger = Ledger()
    counting.join(Keeper(ledger), ledger)
    assert ledger.is_fenced


def test_it_starts_without_redis(caplog: pytest.LogCaptureFixture):
    class Away:
        def turn(self) -> None:
            raise RedisAway("nobody is there")

    counting.join(Away(), Ledger())
    assert "calls under budgets are refused until it does" in caplog.text
