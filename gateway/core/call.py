"""What travels along the path of a call: the call, its caller, its attempts, deltas and usage."""

import json
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from gateway.core.errors import GatewayError, Unsupported
from gateway.core.forms import SOUND_FORMS, Form

EMPTY: Mapping[str, Any] = {}
SAID = frozenset({"messages", "input", "prompt", "system", "previous_response_id", "conversation"})
KEPT_BYTES_MOST = 4 * 1024 * 1024  # of an answer, where bodies are stored


class Usage(msgspec.Struct, gc=False):
    """Tokens as the provider reported them, in one vocabulary for every provider.

    `input` and `output` count everything; the other fields are parts of them: `cached`,
    `cache_write` (kept 5 minutes), `cache_write_long` (1 hour), `input_audio` and `input_image` are
    within `input`; `reasoning`, `output_audio` and `output_image` within `output`. `tool_uses` counts
    uses of tools that the provider hosts and bills by the use. `estimated` says that the numbers were
    counted here because the provider reported none.
    """

    input: int = 0
    cached: int = 0
    cache_write: int = 0
    cache_write_long: int = 0
    input_audio: int = 0
    input_image: int = 0
    output: int = 0
    reasoning: int = 0
    output_audio: int = 0
    output_image: int = 0
    tool_uses: int = 0
    estimated: bool = False
    service_tier: str = ""


UNUSED = Usage()  # stands where a provider has reported nothing yet; never changed


def unused() -> Usage:
    return UNUSED


class Delta(msgspec.Struct, eq=False):
    """One piece of an answer: a stream's event, or the whole of an answer that was not streamed.

    raw     the bytes as the provider sent them, to be forwarded unchanged when `form` is the
            caller's form; for a stream the whole event with its end, else the whole body
    data    the same as parsed JSON: always there when `raw` is None, else only where somebody needed
            it; whoever changes `data` sets `raw` to None
    form    the form that `raw` and `data` are in; "chat" where the provider was translated
    text    the visible text in it (answer and refusal), for counting and screening
    hidden  reasoning text and tool arguments, for counting
    finish  why the answer ended, in OpenAI's words, once it is known
    usage   what the provider has reported so far, once it is known
    usage_only  the event holds nothing else, so a caller who did not ask for usage must not see it
    """

    raw: bytes | None = None
    data: Any = None
    form: str = "chat"
    text: str = ""
    hidden: str = ""
    finish: str | None = None
    usage: Usage | None = None
    usage_only: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """One place that an attempt can go to: a model at a provider with one credential. Compiled, never changed.

    model     the public name in our configuration     upstream  the provider's own name for it
    provider  the provider's public name                kind      which adapter speaks to it
    quirks    data about the server, e.g. {"max_tokens_field": "max_tokens"}; see providers/openai.py
    """

    model: str
    provider: str
    kind: str
    base_url: str
    upstream: str
    credential: str = ""
    secret: str = field(default="", repr=False)
    region: str = ""
    api_version: str = ""
    max_output_tokens: int | None = None
    context_tokens: int | None = None
    quirks: Mapping[str, Any] = field(default_factory=dict)
    capabilities: frozenset[str] | None = None  # None: not known, so nothing is ruled out


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: a key and what it belongs to. Ids are strings, so that they can stand in records."""

    workspace_id: str
    workspace: str
    key_id: str
    key: str
    team_id: str = ""
    team: str = ""
    models: frozenset[str] | None = None  # None: all


class Attempt(msgspec.Struct):
    """One request to one target, as it went. Times are seconds since the call began."""

    target: Target
    started: float
    status: int | None = None
    outcome: str = ""  # answered, refused, failed, timeout, in_doubt, client_left
    reason: str = ""
    first_byte: float | None = None
    ended: float | None = None
    usage: Usage = msgspec.field(default_factory=unused)
    cost_nanos: int = 0
    sent: bool = False  # bytes may have reached the provider


class AttemptHook(Protocol):
    """Hears of each attempt, e.g. to write its intent into the journal or to move a hold to another target.

    Both may return something to wait for; None costs nothing.
    """

    def starting(self, call: "Call", attempt: Attempt) -> Awaitable[None] | None:
        """Nothing was sent yet. Raising a GatewayError ends the call without sending."""
        ...

    def ended(self, call: "Call", attempt: Attempt) -> Awaitable[None] | None:
        """The attempt is over: its outcome, status, usage and times are final. Must not raise."""
        ...


class Controls(msgspec.Struct):
    """The call's own controls (the contract's table), parsed and checked; money in nano-dollars, times in seconds."""

    prompt: Any = None
    inputs: dict[str, Any] | None = None
    channel: str | None = None
    prefer: tuple[str, ...] = ()
    cache: str | None = None  # off, exact, semantic; on: as the route does, or exact
    cache_ttl_s: int | None = None
    cache_by_customer: bool = False
    force_refresh: bool = False
    no_store: bool = False
    budget_nanos: int | None = None
    user: str = ""
    metadata: Mapping[str, Any] = msgspec.field(default_factory=dict)
    tags: tuple[str, ...] = ()
    session_id: str = ""
    run_id: str = ""
    redact: tuple[str, ...] = ()
    timeout_s: float | None = None
    drop_unsupported: bool = False


@dataclass(slots=True, eq=False)
class Call:
    """One call, from its first byte to its record. Stages fill it in; nobody else holds its state."""

    id: str
    form: Form
    body: dict[str, Any]  # in the caller's form, controls removed
    model: str = ""  # what the caller asked for: a route, a model, or prompt/NAME@CHANNEL
    stream: bool = False
    include_usage: bool = False
    controls: Controls = field(default_factory=Controls)
    secret: str = field(default="", repr=False)
    key: Any = field(default=None, repr=False)  # the KeyView that the secret opens, looked up once
    peer: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)  # those that stages may read, lower case
    at: float = field(default_factory=time.time)
    began: float = field(default_factory=time.perf_counter)

    refusal: GatewayError | None = None  # what is wrong with the body, raised once the caller is known
    caller: Caller | None = None
    chat: dict[str, Any] | None = None  # the body in canonical form, once somebody needed it
    route: str = ""
    candidates: tuple[Target, ...] = ()  # one for each model that may answer, in the order in which they are tried
    plan: Any = None  # routing's own: how to reach the candidates
    shadow: Any = None  # routing's own: the snapshot.ShadowView that a copy of this call goes to
    account: str = ""  # whose money it spends, where that is not its workspace's: the shadowed route's name
    hooks: tuple[AttemptHook, ...] = ()
    trace: Any = None  # telemetry's own: the trace that the call belongs to, where it is traced
    decision: list[dict[str, Any]] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    size: Any = None  # (the body that was measured, its size): see bounds.measured
    hold: Any = None  # budgets.hold.Hold, from `held` on
    hit: Any = None  # caching.entry.Hit: the kept answer that this call gets
    keeping: Any = None  # caching's own: takes the pieces of an answer that is to be kept
    cache: str = ""  # the contract's x-tollgate-cache
    likeness: dict[str, Any] | None = None  # how alike the most alike kept question was: see caching.stage.alike
    prompt: str = ""  # NAME@VERSION once rendered
    experiment: str = ""
    redacted: int = 0
    is_masked: bool = False  # redaction has seen it, so the record may keep its body
    vault: Any = None  # redaction's own: the originals of this call, to give back
    watch: Any = None  # the guardrails' own: what looks at the answer as it comes
    guardrails: list[dict[str, Any]] = field(default_factory=list)
    usage: Usage = field(default_factory=unused)
    cost_nanos: int = 0
    tokens: int = 0  # charged, over all attempts
    said: int = 0  # characters of answer received, visible and hidden
    finish: str | None = None
    ttft: float | None = None  # seconds to the first piece of answer
    upstream_seconds: float = 0.0  # spent waiting for providers
    upload: Any = None  # edge.uploads.Upload: the recording that the body names, where it still comes
    answer_type: str = ""  # the provider's content-type, where the answer's bytes are passed on as they are
    answer_bytes: int | None = None  # its content-length there
    answered: bytearray | None = None  # the answer before redaction gives the originals back, where bodies are stored
    status: int = 200
    outcome: str = ""
    record: Any = None  # audit's own: what its intent began and its end completes
    code: str = ""
    ended: float | None = None  # seconds since it began, once its end is known
    is_shed: bool = False  # refused before its body was read, because the worker has too much to do
    at_hand: bool = False  # the answer's next piece is there already, so the last one need not be sent alone
    left: bool = False  # the client is gone; what still comes is read only to learn what it cost
    reply_headers: dict[str, str] = field(default_factory=dict)  # stages add to the answer's head

    @property
    def in_pieces(self) -> bool:
        """Whether the answer is passed on as it comes: a stream's events, or sound."""
        return self.stream or self.form.name in SOUND_FORMS

    def note(self, delta: Delta) -> None:
        """Take from a delta what the record needs."""
        if self.ttft is None and (delta.text or delta.hidden or not self.stream):
            self.ttft = time.perf_counter() - self.began
        self.said += len(delta.text) + len(delta.hidden)
        if delta.finish is not None:
            self.finish = delta.finish
        if delta.usage is not None:
            self.usage = delta.usage
        if self.keeping is not None:
            self.keeping.note(delta)
        if self.answered is not None and len(self.answered) < KEPT_BYTES_MOST:
            self.answered += delta.raw if delta.raw is not None else json.dumps(delta.data).encode() + b"\n"

    def check(self) -> None:
        """Raises what the edge found wrong with the body."""
        if self.refusal is not None:
            raise self.refusal

    def canonical(self) -> dict[str, Any]:
        """The body as OpenAI chat completions, translated once.

        Raises Unsupported where they have no word for a field, unless the caller lets it be dropped; what was said,
        and what it was said in answer to, is never dropped.
        """
        body = self.body
        while self.chat is None:
            try:
                self.chat = self.form.chat(body)
            except Unsupported as lost:
                field = lost.param
                if not self.controls.drop_unsupported or field not in body or field in SAID:
                    raise
                body = {name: value for name, value in body.items() if name != field}
        return self.chat

    @property
    def elapsed(self) -> float:
        """Seconds since the call began; how long it took, once it is over."""
        return time.perf_counter() - self.began if self.ended is None else self.ended
