"""What the gateway's own stages read of the configuration: shapes only, frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.core.call import Target


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model that may be called. `targets` holds it once for each usable credential of its provider."""

    name: str
    provider: str
    kind: str  # chat, embedding, rerank, image, audio, moderation
    quality: float | None
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class TargetView:
    """One target of a route, in the order of its chain. `None` timeouts fall back to the settings'."""

    model: ModelView
    weight: int = 1
    first_byte_timeout_s: float | None = None
    timeout_s: float | None = None
    connect_timeout_s: float | None = None
    first_token_timeout_s: float | None = None
    idle_timeout_s: float | None = None
    conditions: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class CacheView:
    mode: str = "off"  # off, exact, semantic
    ttl_s: int = 3600
    threshold: float = 0.95
    embedding_model: str = ""  # for a semantic cache; empty: the local one, else the configuration's first


@dataclass(frozen=True, slots=True)
class ShadowView:
    """A share of a route's calls, 0 to 1, that also goes to another model; its own budget for each day, in UTC."""

    model: str
    share: float
    daily_nanos: int


@dataclass(frozen=True, slots=True)
class RouteView:
    """A name that an app puts into "model", and where its calls go. A model's own name is a route of one target."""

    name: str
    strategy: str
    targets: tuple[TargetView, ...]
    sticky_by: str = "none"
    retries: int = 1
    fall_back_on: frozenset[str] = frozenset({"connect", "timeout", "rate_limit", "server_error", "bad_answer"})
    cache: CacheView = field(default_factory=CacheView)
    is_model: bool = False
    timeout_s: float | None = None
    shadow: ShadowView | None = None
    hedge_after_s: float | None = None  # None: never
    continues: bool = False  # whether another target may go on with a stream that broke off


@dataclass(frozen=True, slots=True)
class RedactionView:
    """What a workspace masks before anything leaves or is stored."""

    detect: frozenset[str]
    action: str  # restore, mask, block
    on_error: str = "block"  # block, mask, allow
    patterns: tuple[tuple[str, str], ...] = ()  # the workspace's own: (name, RE2 pattern)
    words: tuple[str, ...] = ()  # words and phrases to mask wherever they stand
    names: tuple[str, ...] = ()  # names of people that no rule knows
    allow: tuple[str, ...] = ()  # texts that are never masked, e.g. the company's own addresses
    engine: str = ""  # recognises names by a model; see gateway.redaction.engines


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds, for what a target does not say itself."""

    connect: float = 2.0
    first_byte: float = 20.0
    first_token: float = 30.0  # of a stream; until then another target may still answer
    idle: float = 30.0
    total: float = 600.0


@dataclass(frozen=True, slots=True)
class RoutesSnapshot:
    """Routes and models by name, and the client that reaches them."""

    routes: Mapping[str, RouteView]
    models: Mapping[str, ModelView]
    redaction: Mapping[str, RedactionView] = field(default_factory=dict)  # by workspace id
    pepper: bytes = field(default=b"", repr=False)  # keys the pseudonyms of identifiers that hold personal data
    timeouts: Timeouts = field(default_factory=Timeouts)
    costs: Any = None  # a gateway.routing.cost.Costs, for routes that go to the cheapest
    store: Any = None  # a gateway.caching store; None: nothing is kept
    local: Any = None  # a gateway.caching.local.LocalModel, where the operator has one
    policy_versions: Mapping[str, str] = field(
        default_factory=dict
    )  # by workspace id; changes with any of its policies
    purges: Mapping[str, Mapping[tuple[str, str], float]] = field(default_factory=dict)  # see gateway.caching.entry
    upstream: Any = None  # a gateway.routing.send.Upstream; shapes lie below it and can't name it
