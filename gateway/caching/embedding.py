"""The vector of a question: from the local model, or from one of the configuration by a call of its own.

Such a call is sent for a caller's call, so it has what every call has: the caller's budgets are asked before anything
leaves, the attempt stands in the journal before it is sent, and what it costs is booked. Its record names the call that
it was made for; that call's own record stays free of it, because a kept answer costs nothing.
"""

import base64
import logging
import time
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

import audit.stage as audit
import budgets.stage as budgets
from audit.snapshot import AuditSnapshot
from budgets.snapshot import BudgetsSnapshot
from gateway.caching.local import NAME as LOCAL
from gateway.caching.local import LocalModel
from gateway.core.call import Attempt, Call, Controls, Target
from gateway.core.errors import GatewayError, Unsupported, UpstreamError, UpstreamRejected, UpstreamUnavailable
from gateway.core.ids import new_id
from gateway.providers import provider_of
from gateway.providers.fields import outgoing
from gateway.snapshot import RoutesSnapshot, Timeouts

if TYPE_CHECKING:
    from gateway.core.call import Delta
    from gateway.core.forms import Writer

log = logging.getLogger(__name__)

Vector = NDArray[np.float32]
PATIENCE_SECONDS = 2.0
PAUSE_SECONDS = 5.0  # after an embedding model failed
FOR_CALL = "semantic_cache_of"  # in the record's metadata: the id of the call that the vector was made for


class Policies(msgspec.Struct, frozen=True):
    """What stands before everything that is sent, and writes it down."""

    budgets: BudgetsSnapshot
    audit: AuditSnapshot


class Question:
    """The form of such a call, for its name: nobody outside speaks it, so nothing is ever written in it."""

    name = "embeddings"

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        raise Unsupported("This model makes no embeddings.", param="model")

    def whole(self, call: Call, delta: "Delta") -> bytes:
        return delta.raw or b""

    def writer(self, call: Call) -> "Writer":
        raise Unsupported("Embeddings are not streamed.", param="stream")

    def error(self, error: GatewayError, call_id: str) -> bytes:
        return error.message.encode()


QUESTION = Question()


def embedder_of(routes: RoutesSnapshot, name: str) -> Target | LocalModel | None:
    """The model that makes the vectors: the route's own, else the local one, else the configuration's first."""
    local: LocalModel | None = routes.local
    if name == LOCAL or (not name and local is not None):
        return local
    if name:
        model = routes.models.get(name)
        return model.targets[0] if model is not None and model.targets else None
    for model in routes.models.values():
        if model.kind == "embedding" and model.targets:
            return model.targets[0]
    return None


async def embedded(
    call: Call,
    text: str,
    embedder: Target | LocalModel,
    routes: RoutesSnapshot,
    policies: Policies,
    within_s: float | None,
) -> Vector | None:
    """The vector of a text that `call` asks, of length 1. None when none could be made: then the cache is passed by.

    within_s   seconds that the call has left, None where it has no deadline

    Raises BudgetExceeded, before anything is sent, where the budgets refuse the call itself.
    """
    paused: dict[str, float] = routes.store.index.paused
    if time.monotonic() < paused.get(embedder.model, 0.0):
        return None
    await budgets.allowed(call, policies.budgets)
    if isinstance(embedder, LocalModel):
        try:
            return await embedder.embedded(text, patience(within_s).total)
        except TimeoutError:
            paused[embedder.model] = time.monotonic() + PAUSE_SECONDS
            log.warning("the semantic cache is passed by: this machine's CPU is too busy for %s", embedder.model)
            return None
    return await told(call, question_of(call, text, embedder), routes, policies, within_s)


async def told(
    call: Call, asked: Call, routes: RoutesSnapshot, policies: Policies, within_s: float | None
) -> Vector | None:
    """The vector that an embedding model of the configuration makes, by a call of its own."""
    target, paused = asked.candidates[0], routes.store.index.paused
    try:
        await budgets.allowed(asked, policies.budgets)
        async with audit.recording(asked, policies.audit), budgets.held(asked, policies.budgets):
            vector = await answered(asked, target, routes, patience(within_s))
    except GatewayError as error:
        if isinstance(error, UpstreamError) and not isinstance(error, UpstreamRejected):
            paused[target.model] = time.monotonic() + PAUSE_SECONDS
            log.warning("the semantic cache is passed by: %s gave no vector (%s)", target.model, error)
        else:
            log.info("the semantic cache is passed by for one call: %s was not asked (%s)", target.model, error)
        return None
    finally:
        call.upstream_seconds += asked.upstream_seconds
    return vector


def question_of(call: Call, text: str, target: Target) -> Call:
    """The call that asks for the text's vector. The text is masked already where the workspace masks."""
    own = call.controls
    controls = Controls(
        user=own.user, tags=own.tags, session_id=own.session_id, run_id=own.run_id, metadata={FOR_CALL: call.id}
    )
    return Call(
        id=new_id(),
        form=QUESTION,
        body={"model": target.upstream, "input": text, "encoding_format": "float"},
        model=target.model,
        route=target.model,
        controls=controls,
        peer=call.peer,
        caller=call.caller,
        candidates=(target,),
        cache="off",
        is_masked=True,
    )


async def answered(asked: Call, target: Target, routes: RoutesSnapshot, timeouts: Timeouts) -> Vector:
    """Send the one attempt of such a call. Raises UpstreamError; an answer without a vector is a bad one."""
    adapter = provider_of(target)
    sending = outgoing(adapter, asked.body, "embeddings", target, stream=False, drop_unsupported=True)[0]
    attempt = Attempt(target, asked.elapsed)
    asked.attempts.append(attempt)
    for hook in asked.hooks:
        if (waiting := hook.starting(asked, attempt)) is not None:
            await waiting
    attempt.sent, attempt.outcome = True, "client_left"  # unless we learn more
    began = time.perf_counter()
    try:
        answer = await routes.upstream.send(sending, timeouts, target.kind)
        attempt.status = answer.status
        if answer.status >= 400:
            raise adapter.error(answer.status, answer.headers, answer.body)
        delta = adapter.answer(answer.body, "embeddings", target)
        asked.note(delta)
        attempt.usage, attempt.outcome = asked.usage, "answered"
        return vector_in(delta)
    except UpstreamError as error:
        attempt.sent, attempt.reason = error.sent, f"{error.kind}: {error.message}"[:300]
        if attempt.outcome != "answered":
            attempt.outcome = "timeout" if error.kind == "timeout" else "failed"
        raise
    finally:
        asked.upstream_seconds = time.perf_counter() - began
        attempt.ended = asked.elapsed
        for hook in asked.hooks:
            if (waiting := hook.ended(asked, attempt)) is not None:
                await waiting


def patience(within_s: float | None) -> Timeouts:
    """A cache that is slow is no cache: what an embedding may take of the time that its call has left."""
    most = PATIENCE_SECONDS if within_s is None else max(0.001, min(PATIENCE_SECONDS, within_s))
    return Timeouts(min(1.0, most), most, most, most, most)


def vector_in(delta: "Delta") -> Vector:
    """The vector of an answer in OpenAI's form. Raises UpstreamUnavailable where there is none."""
    try:
        data = delta.data if delta.data is not None else msgspec.json.decode(delta.raw or b"{}")
        return unit(data["data"][0]["embedding"])
    except (LookupError, TypeError, ValueError) as error:
        raise UpstreamUnavailable(f"the answer holds no vector ({error})", kind="bad_answer") from None


def unit(given: Any) -> Vector:
    """A vector as numbers or in base64, brought to length 1. Raises ValueError for one that has no direction."""
    if isinstance(given, str):
        vector: Vector = np.frombuffer(base64.b64decode(given), dtype=np.float32)
    else:
        vector = np.asarray(given, dtype=np.float32)
    length = float(np.linalg.norm(vector)) if vector.ndim == 1 else 0.0
    if not 0 < length < float("inf"):
        raise ValueError("a vector without a direction")
    return vector / np.float32(length)
