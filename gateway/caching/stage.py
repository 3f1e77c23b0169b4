"""Answers that need not be asked again.

`shared` stands around the way to the provider. Entering finds what is kept, or waits for an identical call that is
under way; leaving keeps a complete, good answer, and passes it on to those who wait. Everything that may refuse a call
comes before it or looks at its deltas, so a kept answer is refused where a fresh one would be.
"""

import time
from types import TracebackType

from audit.snapshot import AuditSnapshot
from budgets.snapshot import BudgetsSnapshot
from gateway.caching.embedding import Policies, embedded, embedder_of
from gateway.caching.entry import OVERHEAD_BYTES, Entry, Hit, KeptDelta, kept, serves, weight
from gateway.caching.exact import SINGLE_PIECE, exact_key, is_cacheable
from gateway.caching.flights import LEAD, Flight
from gateway.caching.marks import sides
from gateway.caching.semantic import Index, Place, question
from gateway.caching.shapes import fitting
from gateway.core.call import Call, Delta
from gateway.snapshot import CacheView, RoutesSnapshot

LARGEST_BYTES = 4 * 1024 * 1024  # of one answer
GOOD_ENDS = frozenset({"stop", "tool_calls", "function_call"})  # a truncated or filtered answer is not kept
NO_CACHE = CacheView()


class Keeping:
    """A call whose answer is to be kept: its key, its pieces as they come, and the flight that it leads."""

    __slots__ = ("bytes", "flight", "key", "pieces", "place", "ttl_s")

    def __init__(self, key: bytes, ttl_s: int, flight: Flight | None) -> None:
        self.key, self.ttl_s, self.flight = key, ttl_s, flight
        self.pieces: list[KeptDelta] = []
        self.bytes = OVERHEAD_BYTES
        self.place: Place | None = None  # semantic: where the question lies

    def note(self, delta: Delta) -> None:
        """Take a piece, before anybody changes it."""
        if self.bytes <= LARGEST_BYTES:
            self.bytes += weight(delta)
            self.pieces.append(kept(delta))


class shared:
    """Sets call.hit, call.cache and the headers that tell of them. Never raises for a store that fails.

    Entering asks the budgets before it sends a question to an embedding model: it raises BudgetExceeded where they
    would refuse the call.
    """

    __slots__ = ("call", "policies", "routes")

    def __init__(self, call: Call, routes: RoutesSnapshot, budgets: BudgetsSnapshot, audit: AuditSnapshot) -> None:
        self.call, self.routes, self.policies = call, routes, Policies(budgets, audit)

    async def __aenter__(self) -> None:
        try:
            self.call.hit = await lookup(self.call, self.routes, self.policies)
        except BaseException as error:  # a bracket that fails to enter is never left: it must undo itself
            await self.__aexit__(type(error), error, None)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if (keeping := self.call.keeping) is None:
            return
        self.call.keeping = None
        entry = answer_of(self.call, keeping) if error is None else None
        if entry is not None and keeping.ttl_s > 0:
            self.routes.store.put(keeping.key, entry)
            if keeping.place is not None:
                self.routes.store.index.add(keeping.place, keeping.key, entry.expires)
        if keeping.flight is not None:
            if error is None:
                keeping.flight.landed(entry)
            else:
                keeping.flight.fell_out(failed=isinstance(error, Exception))


def mode_of(call: Call, view: CacheView) -> str:
    """off, exact or semantic: what the call asks for, else what its route does."""
    controls = call.controls
    asked = controls.cache
    if controls.no_store or (controls.cache_by_customer and not controls.user):  # shared with nobody, so with whom?
        return "off"
    if asked is None:
        return view.mode
    if asked == "on":
        return "exact" if view.mode == "off" else view.mode
    return asked


async def lookup(call: Call, routes: RoutesSnapshot, policies: Policies) -> Hit | None:
    """The kept answer to this call, or None. Yields to the event loop only where it waits for something."""
    view: CacheView = call.plan.plan.view.cache if call.plan is not None else NO_CACHE
    store, mode = routes.store, mode_of(call, view)
    if mode == "off" or store is None or not is_cacheable(call):
        call.cache = "off"
        return None
    asked_s = call.controls.cache_ttl_s
    ttl_s = view.ttl_s if asked_s is None else min(asked_s, view.ttl_s)
    try:
        key = exact_key(call, routes)
    except (TypeError, ValueError):  # a body that can't be written down can't be told from another
        call.cache = "off"
        return None
    if call.controls.force_refresh:
        call.cache = "refresh"
        call.keeping = Keeping(key, ttl_s, None)
        return None
    entry = await found(call, routes, key)
    if entry is None:
        entry = await awaited(call, routes, key, ttl_s)
    if entry is not None:
        return hit(call, entry, "hit-exact")
    if mode == "semantic" and call.keeping is not None:
        entry = await alike(call, routes, view, policies)
        if entry is not None:
            keeping, call.keeping = call.keeping, None
            if keeping.flight is not None:
                keeping.flight.landed(entry)
            return hit(call, entry, "hit-semantic")
    call.cache = "miss"
    return None


async def alike(call: Call, routes: RoutesSnapshot, view: CacheView, policies: Policies) -> Entry | None:
    """The kept answer to a question that means the same; None also where that can't be told.

    Sets call.likeness for the record, also where it is below the threshold: the most alike kept question's cosine,
    and the call whose answer that is.
    """
    index: Index = routes.store.index
    embedder = embedder_of(routes, view.embedding_model)
    asked = question(call, routes, embedder.model) if embedder is not None else None
    if embedder is None or asked is None:
        return None
    partition, text = asked
    vector = await embedded(call, text, embedder, routes, policies, time_left(call))
    if vector is None:
        return None
    assert call.caller is not None
    place = call.keeping.place = Place(call.caller.workspace_id, partition, vector, sides(text))
    while (near := await index.nearest(place)) is not None:
        key, likeness = near
        entry = await found(call, routes, key)
        if entry is None:
            index.forget(place, key)
            continue
        call.likeness = {"likeness": round(likeness, 4), "threshold": view.threshold, "call_id": entry.call_id}
        return entry if likeness >= view.threshold else None
    return None


async def found(call: Call, routes: RoutesSnapshot, key: bytes) -> Entry | None:
    """What is kept under this key and may serve this call."""
    store, caller = routes.store, call.caller
    assert caller is not None
    if store.is_shared:
        entry = await store.fetch(caller.workspace_id, key)
    else:
        store.obey(routes.purges)
        entry = store.find(caller.workspace_id, key)
    if entry is None or not serves(entry, call, routes.purges, call.controls.cache_ttl_s):
        return None
    return fitting(entry, call)


async def awaited(call: Call, routes: RoutesSnapshot, key: bytes, ttl_s: int) -> Entry | None:
    """The answer of an identical call that is under way; None when this call is to ask, as the leader or alone."""
    flights: dict[bytes, Flight] = routes.store.flights
    flight = flights.get(key)
    if flight is None:
        call.keeping = Keeping(key, ttl_s, Flight(flights, key))
        return None
    told = await flight.follow(time_left(call))
    if (
        isinstance(told, Entry)
        and serves(told, call, routes.purges, None)
        and (entry := fitting(told, call)) is not None
    ):
        return entry
    call.keeping = Keeping(key, ttl_s, flight if told is LEAD else None)
    return None


def time_left(call: Call) -> float | None:
    """Seconds until this call's own deadline, None where it has none."""
    most = call.controls.timeout_s
    if call.plan is not None and (of_route := call.plan.plan.view.timeout_s) is not None:
        most = of_route if most is None else min(most, of_route)
    return None if most is None else max(0.0, most - call.elapsed)


def hit(call: Call, entry: Entry, how: str) -> Hit:
    """Answer the call with the entry."""
    found = Hit(entry, time.time())
    call.cache = how
    call.reply_headers["age"] = str(found.age_s)
    return found


def answer_of(call: Call, keeping: Keeping) -> Entry | None:
    """The call's answer to keep, or None where it is not complete and good."""
    if call.hit is not None or call.status != 200 or not keeping.pieces or keeping.bytes > LARGEST_BYTES:
        return None
    if call.form.name not in SINGLE_PIECE and call.finish not in GOOD_ENDS:
        return None
    if not call.attempts or call.caller is None:
        return None
    target = call.attempts[-1].target
    return Entry(
        workspace_id=call.caller.workspace_id,
        route=call.route,
        prompt=call.prompt,
        user=call.controls.user,
        model=target.model,
        provider=target.provider,
        at=call.at,
        expires=call.at + keeping.ttl_s,
        cost_nanos=call.cost_nanos,
        deltas=keeping.pieces,
        bytes=keeping.bytes,
        call_id=call.id,
        streamed=call.stream,
    )
