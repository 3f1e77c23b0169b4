"""What the path of a call reads of workspaces and keys: shapes only, frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from gateway.core.call import Caller
from gateway.core.counters import Counters


@dataclass(frozen=True, slots=True)
class WorkspaceView:
    id: str
    name: str
    timezone: str
    is_active: bool
    on_unpriced: str
    on_budgets_unavailable: str
    on_limits_unavailable: str
    on_audit_unavailable: str
    blocked_users: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key as it stands, also one that no longer opens, so that its caller can be told why. Times are epoch seconds."""

    caller: Caller
    workspace: WorkspaceView
    expires_at: float | None = None
    revoked: bool = False
    networks: tuple[IPv4Network | IPv6Network, ...] = ()


@dataclass(frozen=True, slots=True)
class LimitView:
    """One rate limit. `match` is "" for each one of that kind by itself. `window_s` is 0 for concurrency."""

    of: str
    match: str
    unit: str
    amount: int
    window_s: int
    burst: int | None


@dataclass(frozen=True, slots=True)
class TenantsSnapshot:
    """Keys by digest. `peppers` are today's secret and the older ones that still open."""

    keys: Mapping[bytes, KeyView]
    peppers: tuple[bytes, ...]
    limits: Mapping[str, tuple[LimitView, ...]] = field(default_factory=dict)  # by workspace id
    on_unavailable: Mapping[str, str] = field(default_factory=dict)  # open, closed, local; by workspace id
    counters: Counters | None = None
    kept: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)  # the limits of callers so far
