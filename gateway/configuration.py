"""The configuration that calls run under: one snapshot per app, frozen, swapped whole."""

from dataclasses import dataclass
from typing import Any

from audit.snapshot import AuditSnapshot
from budgets.snapshot import BudgetsSnapshot
from evals.snapshot import EvalsSnapshot
from gateway.core.holder import Holder
from gateway.snapshot import RoutesSnapshot
from prompts.snapshot import PromptsSnapshot
from tenants.snapshot import TenantsSnapshot


@dataclass(slots=True)
class Services:
    """What a serving process keeps open besides its configuration; compilers put them into the snapshots.

    upstream   reaches the providers               counters   rate limits
    ledger     budgets' holds                      store      cached answers
    journal    call records, before the database      metrics    what is counted of every call
    traces     OpenTelemetry, where it is configured     export     the same figures to it
    local      the embedding model on this machine, where there is one
    """

    upstream: Any = None
    counters: Any = None
    ledger: Any = None
    journal: Any = None
    metrics: Any = None
    traces: Any = None
    export: Any = None
    store: Any = None
    local: Any = None


@dataclass(frozen=True, slots=True)
class Configuration:
    """A call takes it once and keeps it to its end."""

    revision: int
    tenants: TenantsSnapshot
    routes: RoutesSnapshot
    prompts: PromptsSnapshot
    budgets: BudgetsSnapshot
    audit: AuditSnapshot
    evals: EvalsSnapshot


current: Holder[Configuration | None] = Holder(None)
