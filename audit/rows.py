"""Records as rows: the columns, the digest that a seal is made over, and the inserts that both databases take."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain
from typing import Any

import msgspec

from audit.record import AttemptRecord, Record

ROWS_AT_ONCE = (64, 8, 1)  # few sizes, so that the driver has their statements ready
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_json = msgspec.json.Encoder(enc_hook=str).encode

# fmt: off
CALL_COLUMNS = (
    "id", "at", "workspace_id", "workspace", "team_id", "team", "key_id", "key", "subject", "form", "route",
    "asked", "model", "provider", "prompt", "experiment", "status", "outcome", "code", "streamed", "input_tokens",
    "output_tokens", "cached_tokens", "cost_nanos", "cache", "ttft_us", "total_us", "redacted", "session_id",
    "run_id", "tags", "peer", "worker", "seq", "keep_until", "rest",
)
EVENT_COLUMNS = (
    "id", "at", "kind", "workspace_id", "workspace", "actor_id", "actor", "origin", "request_id", "object_type",
    "object_id", "object_name", "reason", "before", "after", "data", "keep_until",
)
# fmt: on
CALL_TIMES = (CALL_COLUMNS.index("at"), CALL_COLUMNS.index("keep_until"))

Row = tuple[Any, ...]


def text(value: str, limit: int) -> str:
    """What both databases can keep in a column of this width."""
    return value[:limit].replace("\x00", "\ufffd")


word = lru_cache(maxsize=4096)(text)  # for what many records have in common


def call_row(record: Record) -> Row:
    """The values of CALL_COLUMNS, times as microseconds since 1970."""
    return (
        record.call_id,
        record.at_us,
        record.workspace_id,
        record.workspace,
        record.team_id,
        record.team,
        record.key_id,
        record.key,
        record.subject or None,
        record.form,
        word(record.route, 200),
        word(record.asked, 200),
        word(record.model, 200),
        record.provider,
        word(record.prompt, 200) or None,
        word(record.experiment, 200),
        record.status,
        record.outcome,
        word(record.code, 80),
        record.streamed,
        record.input_tokens,
        record.output_tokens,
        record.cached_tokens,
        record.cost_nanos,
        record.cache,
        record.ttft_us,
        record.us,
        record.redacted,
        (text(record.session_id, 200) or None) if record.session_id else None,
        (text(record.run_id, 200) or None) if record.run_id else None,
        _json(record.tags).decode() if record.tags else None,
        word(record.peer, 64),
        record.worker,
        record.seq,
        record.keep_until_us,
        rest(record),
    )


class Rest(msgspec.Struct, omit_defaults=True, gc=False):
    """What is shown of a call but not searched for."""

    schema: int = 0
    attempts: list[AttemptRecord] = []
    message: str = ""
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    tokens: dict[str, int] = {}
    upstream_us: int = 0
    finish: str | None = None
    trace_id: str = ""
    metadata: dict[str, Any] = {}
    decision: list[Any] = []
    guardrails: list[Any] = []
    likeness: dict[str, Any] = {}
    saved_nanos: int = 0
    bodies: dict[str, dict[str, Any]] = {}
    trace_sampled: bool = False


def rest(record: Record) -> str:
    """`Rest` as JSON text; empty parts are left out."""
    return _json(
        Rest(
            record.schema,
            record.attempts,
            record.message,
            record.cache_write_tokens,
            record.reasoning_tokens,
            record.estimated,
            record.tokens,
            record.upstream_us,
            record.finish or None,
            record.trace_id,
            record.metadata,
            record.decision,
            record.guardrails,
            record.likeness,
            record.saved_nanos,
            {body.kind: {"commitment": body.commitment.hex(), "bytes": body.size} for body in record.bodies}
            if record.bodies
            else {},
            record.trace_sampled,
        )
    ).decode()


def digest(row: Sequence[Any]) -> bytes:
    """SHA-256 over the row's values in column order, as a JSON array with times in microseconds."""
    return hashlib.sha256(_json(row)).digest()


def micros(moment: datetime | None) -> int | None:
    """Microseconds since 1970, exactly."""
    return None if moment is None else (moment - EPOCH) // timedelta(microseconds=1)


def at_microsecond(us: int) -> datetime:
    """The moment that many microseconds after 1970."""
    return EPOCH + timedelta(microseconds=us)


def adapted(row: Row, times: Sequence[int], vendor: str) -> list[Any]:
    """The row with its times as the database driver takes them: SQLite text in UTC, else datetimes."""
    values = list(row)
    as_kept = sqlite_time if vendor == "sqlite" else at_microsecond
    for index in times:
        if (us := values[index]) is not None:
            values[index] = as_kept(us)
    return values


def sqlite_time(us: int) -> str:
    """A time as SQLite keeps it: text in UTC, without saying so, and with no fraction where there is none."""
    second, fraction = divmod(us, 1_000_000)
    return f"{_second(second)}.{fraction:06d}" if fraction else _second(second)


@lru_cache(maxsize=64)
def _second(second: int) -> str:
    return str((EPOCH + timedelta(seconds=second)).replace(tzinfo=None))


def insert(table: str, columns: Sequence[str], count: int = 1) -> str:
    """An insert of so many rows that leaves those alone that are there already."""
    names = ", ".join(f'"{column}"' for column in columns)
    holes = ", ".join([f"({', '.join(['%s'] * len(columns))})"] * count)
    return " ".join(("INSERT INTO", f'"{table}" ({names})', f"VALUES {holes}", "ON CONFLICT DO NOTHING"))


class Insert:
    """Inserts of many rows with few statements.

    SQLite's driver lets go of the interpreter for each statement, and has to fight for it with the event loop's thread
    afterwards: a statement for each row made the writer slow, and the calls beside it too.
    """

    def __init__(self, table: str, columns: Sequence[str]) -> None:
        self._statements = {count: insert(table, columns, count) for count in ROWS_AT_ONCE}

    def __call__(self, cursor: Any, rows: Sequence[Sequence[Any]]) -> None:
        start = 0
        for count, statement in self._statements.items():
            while len(rows) - start >= count:
                cursor.execute(statement, list(chain.from_iterable(rows[start : start + count])))
                start += count
