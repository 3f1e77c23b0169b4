"""What the path of a call reads of this app: shapes only, frozen."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from budgets.asking import Asking
from budgets.periods import Clock
from budgets.pricing import Price
from gateway.core.counters import Ledger


@dataclass(frozen=True, slots=True)
class BudgetView:
    """One budget. `match` is "" for each one of that kind by itself; `unit` is "usd" (nano-dollars) or "tokens".

    raises  what was granted for a time: (subject as in a bucket's name, from, until in epoch seconds, amount)
    """

    name: str
    of: str
    match: str
    per: str
    limit: int
    unit: str
    hard: bool = True
    afford: bool = False
    alert_at: tuple[int, ...] = ()
    id: str = ""
    raises: tuple[tuple[str, float, float, int], ...] = ()

    def cap(self, subject: str, at: float) -> tuple[int, float]:
        """What this subject may spend at an instant, and until when that holds (infinity: for good)."""
        cap, until = self.limit, math.inf
        for whose, start, end, amount in self.raises:
            if whose == subject and at < end:
                if start <= at:
                    cap, until = cap + amount, min(until, end)
                else:
                    until = min(until, start)
        return cap, until


@dataclass(frozen=True)
class WorkspaceBudgets:
    """The budgets of one workspace, and what holds where something is not known or not there.

    kept  which buckets whose calls ask, as budgets/plan.py found out
    """

    clock: Clock
    per_call: tuple[BudgetView, ...] = ()
    others: tuple[BudgetView, ...] = ()
    on_unpriced: str = "reject"  # reject, ceiling, allow
    on_unavailable: str = "closed"  # closed, open
    kept: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def has_hard_dollars(self) -> bool:
        return any(view.hard and view.unit == "usd" for view in (*self.others, *self.per_call))


@dataclass(frozen=True, slots=True)
class BudgetsSnapshot:
    """Budgets by workspace id, and prices by the model's public name: (valid from, price), newest first.

    catalogue  (provider's kind, upstream name) → the price catalogue's price, where the configuration has none
    dearest    the highest price known, for workspaces that take unpriced models at it
    asking     makes the link by which a refused caller asks for more
    wait_s     how long a call may wait for other calls' holds to settle before it is refused
    """

    workspaces: Mapping[str, WorkspaceBudgets] = field(default_factory=dict)
    prices: Mapping[str, tuple[tuple[float, Price], ...]] = field(default_factory=dict)
    catalogue: Callable[[str, str], Price | None] = lambda kind, upstream: None
    dearest: Price | None = None
    ledger: Ledger | None = None
    asking: Asking | None = None
    wait_s: float = 15.0
