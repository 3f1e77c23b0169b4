"""The record of a call: its shape in the journal, and how it is built from the call."""

from operator import attrgetter
from typing import Any

import msgspec

from gateway.core.call import UNUSED, Attempt, Call

SCHEMA = 1


class AttemptRecord(msgspec.Struct, omit_defaults=True, gc=False):
    """One request to one target. Times in microseconds; `started_us` counts from the call's beginning."""

    model: str
    provider: str
    credential: str = ""
    status: int | None = None
    outcome: str = ""
    reason: str = ""
    started_us: int = 0
    first_byte_us: int | None = None
    us: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nanos: int = 0


class SealedBody(msgspec.Struct, omit_defaults=True):
    """One stored body, already encrypted: AES-256-GCM under the key `key_id`, salt and bytes inside."""

    kind: str  # request or answer
    key_id: str
    nonce: bytes
    ciphertext: bytes
    commitment: bytes  # SHA-256(salt || bytes)
    size: int


class BodyKeyRecord(msgspec.Struct, omit_defaults=True):
    """The key of a body, wrapped by the installation's keyring. Destroying its row destroys the bodies."""

    key_id: str
    subject: str
    day: str
    wrapped: bytes


class Record(msgspec.Struct, omit_defaults=True, gc=False):  # it never holds itself
    """One call. Ids and names as they were; money in nano-dollars; times in microseconds.

    at_us        when it began, microseconds since 1970
    user         the caller's end user; stands only in the journal and in the deletable table of subjects
    subject      the pseudonym of that user, which is what the record keeps
    worker, seq  which worker wrote it, and its how-manieth record in this workspace: a hole means removal
    entries      lines for the budget ledger, written in the same transaction as the record
    """

    call_id: str
    at_us: int
    worker: str = ""
    seq: int = 0
    schema: int = SCHEMA
    workspace_id: str = ""
    workspace: str = ""
    team_id: str = ""
    team: str = ""
    key_id: str = ""
    key: str = ""
    user: str = ""
    subject: str = ""
    form: str = ""
    route: str = ""
    asked: str = ""
    model: str = ""
    provider: str = ""
    prompt: str = ""
    experiment: str = ""
    status: int = 0
    outcome: str = ""
    code: str = ""
    message: str = ""
    streamed: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    tokens: dict[str, int] = {}  # the rarer classes, where they are not 0
    cost_nanos: int = 0
    cache: str = ""
    attempts: list[AttemptRecord] = []
    ttft_us: int | None = None
    us: int = 0
    upstream_us: int = 0
    redacted: int = 0
    finish: str | None = None
    session_id: str = ""
    run_id: str = ""
    tags: list[str] = []
    metadata: dict[str, Any] = {}
    decision: list[Any] = []
    guardrails: list[Any] = []
    likeness: dict[str, Any] = {}
    saved_nanos: int = 0
    peer: str = ""
    keep_until_us: int | None = None
    bodies_until_us: int | None = None
    bodies: list[SealedBody] = []
    body_key: BodyKeyRecord | None = None
    entries: list[Any] = []
    trace_id: str = ""
    trace_sampled: bool = False


class RecordId(msgspec.Struct):
    """As much of a record as replay needs to know whether a call came to its end."""

    call_id: str


encoder = msgspec.msgpack.Encoder(enc_hook=str)
_encode = encoder.encode
decode = msgspec.msgpack.Decoder(Record).decode
decode_id = msgspec.msgpack.Decoder(RecordId).decode

_RARE = ("cache_write_long", "input_audio", "input_image", "output_audio", "output_image", "tool_uses")
_rare = attrgetter(*_RARE)


def begin(call: Call) -> Record:
    """The record of a call that is about to be sent or has ended: what no longer changes from then on."""
    controls = call.controls
    record = Record(
        call_id=call.id,
        at_us=int(call.at * 1e6),
        form=call.form.name if call.form is not None else "",
        route=call.route,
        asked=call.model,
        prompt=call.prompt,
        experiment=call.experiment,
        streamed=call.stream,
        user=controls.user,
        session_id=controls.session_id,
        run_id=controls.run_id,
        tags=list(controls.tags),
        metadata=controls.metadata,  # type: ignore[arg-type]
        peer=call.peer,
    )
    if (caller := call.caller) is not None:
        record.workspace_id, record.workspace = caller.workspace_id, caller.workspace
        record.key_id, record.key = caller.key_id, caller.key
        record.team_id, record.team = caller.team_id, caller.team
    return record


def bring_up_to_date(record: Record, call: Call) -> Record:
    """The same record with all else as the call stands now. Never raises for anything a caller can send."""
    attempts, usage = call.attempts, call.usage
    last = attempts[-1].target if attempts else call.hit
    if last is not None:
        record.model, record.provider = last.model, last.provider
    else:
        record.model = call.model
    record.attempts = [_attempt(attempt, call) for attempt in attempts]
    record.status, record.outcome, record.code = call.status, call.outcome, call.code
    record.cost_nanos, record.cache, record.finish = call.cost_nanos, call.cache, call.finish
    record.us, record.upstream_us = int(call.elapsed * 1e6), int(call.upstream_seconds * 1e6)
    record.ttft_us = None if call.ttft is None else int(call.ttft * 1e6)
    record.redacted, record.decision, record.guardrails = call.redacted, call.decision, call.guardrails
    if call.likeness is not None:
        record.likeness = call.likeness
    if call.hit is not None:
        record.saved_nanos = call.hit.saved_nanos
    if call.trace is not None:
        record.trace_id, record.trace_sampled = call.trace.id, call.trace.is_sampled
    if call.hold is not None:
        record.entries = call.hold.lines()
    if usage is not UNUSED:
        record.input_tokens, record.output_tokens, record.cached_tokens = usage.input, usage.output, usage.cached
        record.cache_write_tokens, record.reasoning_tokens = usage.cache_write, usage.reasoning
        record.estimated = usage.estimated
        if any(rare := _rare(usage)):
            record.tokens = {name: count for name, count in zip(_RARE, rare, strict=True) if count}
    return record


def _attempt(attempt: Attempt, call: Call) -> AttemptRecord:
    target, usage = attempt.target, attempt.usage
    ended = attempt.ended if attempt.ended is not None else call.elapsed
    first = attempt.first_byte
    return AttemptRecord(
        model=target.model,
        provider=target.provider,
        credential=target.credential,
        status=attempt.status,
        outcome=attempt.outcome,
        reason=attempt.reason,
        started_us=int(attempt.started * 1e6),
        first_byte_us=None if first is None else int(first * 1e6),
        us=int((ended - attempt.started) * 1e6),
        input_tokens=usage.input,
        output_tokens=usage.output,
        cost_nanos=attempt.cost_nanos,
    )


def encode(record: Record) -> bytes:
    """The record's bytes for the journal.

    What msgpack can't hold is replaced: lone surrogates by question marks, integers of more than 64 bits by their
    digits, and metadata nested too deeply by a word that says so.
    """
    try:
        return _encode(record)
    except (UnicodeEncodeError, OverflowError, ValueError, TypeError, RecursionError):
        fields = {name: getattr(record, name) for name in record.__struct_fields__}
        for name in ("metadata", "decision", "guardrails", "tags"):
            try:
                fields[name] = storable(fields[name])
            except RecursionError:
                fields[name] = {"unreadable": "nested too deeply"} if name == "metadata" else []
        for name, value in fields.items():
            if isinstance(value, str):
                fields[name] = storable(value)
        return _encode(Record(**fields))


def storable(value: Any) -> Any:
    """The same value without lone surrogates and integers beyond 64 bits, all the way down."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    if isinstance(value, dict):
        return {storable(str(key)): storable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(item) for item in value]
    return value
