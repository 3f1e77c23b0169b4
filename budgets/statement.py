"""What a team, or a whole workspace, owes for a month: sums of ledger lines that can be made again byte for byte.

A statement is made of the lines of attempts reserved in that month, in the workspace's time zone, that were booked by
`as_of`; without one, all that are booked, and `as_of` is when the newest of them was. So the same lines always give the
same bytes, a correction that comes later gives another statement with another `as_of`, and the earlier one can still
be made again. Names of teams and keys, and the time zone, are those of the history at that time, not today's. End users
do not appear: the lines outlive them, and a statement must not change when one is forgotten.
"""

import csv
import hashlib
import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import BigIntegerField, Count, Func, Max, QuerySet, Sum

from budgets.models import Entry
from budgets.periods import Period, period, utc
from budgets.services import spending
from gateway.core.money import dollars
from tenants.models import ApiKey, Team, Workspace

COLUMNS = (
    *("workspace", "month", "time_zone", "as_of", "team", "key", "model", "provider", "attempts", "input_tokens"),
    *("cached_tokens", "output_tokens", "tokens", "charged_usd", "corrections_usd", "total_usd", "in_doubt_usd"),
)
GROUP = ("team_id", "key_id", "model", "provider")
AT_ONCE = 2000

Group = tuple[str, str, str, str]  # in the order of GROUP


@dataclass(slots=True)
class Sums:
    """What one group's lines add up to; amounts in nano-dollars."""

    attempts: int = 0
    input: int = 0
    cached: int = 0
    output: int = 0
    tokens: int = 0
    charged: int = 0
    corrections: int = 0
    doubt: int = 0

    def add(self, other: "Sums") -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def cells(self) -> list[Any]:
        counts = [self.attempts, self.input, self.cached, self.output, self.tokens]
        amounts = [self.charged, self.corrections, self.charged + self.corrections, self.doubt]
        return [*counts, *map(dollars, amounts)]


@dataclass(slots=True)
class Statement:
    """`rows` are cells in the order of COLUMNS, the last one the total; `text` is the CSV, `digest` its SHA-256."""

    workspace: str
    month: str
    team: str | None
    as_of: datetime | None
    rows: list[list[Any]] = field(default_factory=list)

    @property
    def text(self) -> str:
        written = io.StringIO()
        writer = csv.writer(written)
        writer.writerow(COLUMNS)
        writer.writerows([safe(cell) for cell in row] for row in self.rows)
        return written.getvalue()

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def make_statement(
    workspace: Workspace, month: str, *, team: Team | None = None, as_of: datetime | None = None
) -> Statement:
    """The statement of "2026-11", of one team or of all. Raises ValueError for what is no month."""
    zone, span = month_of(workspace, month)
    sums, newest = summed(lines_of(workspace, span, team, as_of))
    at = as_of or newest
    made = Statement(workspace.name, month, None if team is None else team.name, at)
    if at is not None:
        made.workspace = str(named(workspace, at).name)
    head = [made.workspace, month, zone, f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}" if at else ""]
    teams, keys = Names(Team, at), Names(ApiKey, at)
    rows = [([teams[group[0]], keys[group[1]], group[2], group[3]], group, sums[group]) for group in sums]
    total = Sums()
    for names, _, amounts in sorted(rows, key=lambda row: (row[0], row[1])):
        made.rows.append([*head, *names, *amounts.cells()])
        total.add(amounts)
    made.rows.append([*head, "TOTAL", "", "", "", *total.cells()])
    return made


def month_of(workspace: Workspace, month: str) -> tuple[str, Period]:
    """The workspace's time zone in that month, as it was when the month ended, and the month's instants."""
    try:
        first = datetime.strptime(month, "%Y-%m").replace(day=15, hour=12, tzinfo=UTC)
    except ValueError:
        raise ValueError(f"{month!r} is not a month; write it like 2026-11.") from None
    end = utc(period("UTC", "month", first.timestamp()).end)
    zone = str(named(workspace, end).timezone)
    return zone, period(zone, "month", first.timestamp())


def lines_of(workspace: Workspace, span: Period, team: Team | None, as_of: datetime | None) -> QuerySet[Entry]:
    lines = Entry.objects.filter(workspace_id=str(workspace.pk), at__gte=utc(span.start), at__lt=utc(span.end))
    if team is not None:
        lines = lines.filter(team_id=str(team.pk))
    return lines if as_of is None else lines.filter(booked_at__lte=as_of)


def summed(lines: QuerySet[Entry]) -> tuple[dict[Group, Sums], datetime | None]:
    """The lines by group, and when the newest was booked. The database adds them up: a month may have a million."""
    sums: dict[Group, Sums] = {}
    newest: datetime | None = None
    doubtful = False
    for *names, status, count, nanos, tokens, put_in, cached, out, booked in added_up(lines):
        one = sums.setdefault((names[0], names[1], names[2], names[3]), Sums())
        newest = booked if newest is None or booked > newest else newest
        one.tokens += int(tokens)
        if status in spending.CORRECTIONS:
            one.corrections += int(nanos)
            continue
        doubtful = doubtful or status == Entry.Status.IN_DOUBT
        one.attempts += count
        one.charged += int(nanos)
        one.input += int(put_in)
        one.cached += int(cached)
        one.output += int(out)
    for group, nanos in in_doubt(lines) if doubtful else ():
        sums[group].doubt += nanos
    return sums, newest


def added_up(lines: QuerySet[Entry]) -> QuerySet[Entry, tuple[Any, ...]]:
    """(group…, status, lines, nano-dollars, tokens, input, cached, output, newest booking) of each group and status."""
    classes = [Sum(TokensOf(name)) for name in ("input", "cached", "output")]
    amounts = [Count("pk"), Sum("nanos"), Sum("tokens"), *classes, Max("booked_at")]
    named = {f"amount_{number}": amount for number, amount in enumerate(amounts)}
    return lines.order_by().values_list(*GROUP, "status").annotate(**named)


def in_doubt(lines: QuerySet[Entry]) -> Iterator[tuple[Group, int]]:
    """(group, nano-dollars) of each line that is in doubt and that no correction has settled."""
    corrected = lines.filter(status=Entry.Status.CORRECTION).order_by().values_list("attempt", flat=True)
    settled = {attempt.partition("+")[0] for attempt in corrected.iterator(chunk_size=AT_ONCE)}
    doubts = lines.filter(status=Entry.Status.IN_DOUBT).order_by().values_list("attempt", "nanos", *GROUP)
    for attempt, nanos, *names in doubts.iterator(chunk_size=AT_ONCE):
        if attempt not in settled:
            yield (names[0], names[1], names[2], names[3]), nanos


class TokensOf(Func):
    """How many tokens of a class a line counted; 0 where it says nothing of that class."""

    output_field = BigIntegerField()

    def __init__(self, name: str) -> None:
        super().__init__("classes", template=f"COALESCE(JSON_EXTRACT(%(expressions)s, '$.{name}'), 0)")
        self.name = name

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = f"COALESCE((%(expressions)s ->> '{self.name}')::bigint, 0)"
        return self.as_sql(compiler, connection, template=template, **context)


def named(row: Any, at: datetime) -> Any:
    """A row as its history has it at that time; before its first entry, as it began; without any, as it is."""
    history = row.history.order_by("history_date", "history_id")
    return history.filter(history_date__lte=at).last() or history.first() or row


class Names(dict[str, str]):
    """Names by id as they were at one time, read when first asked for. Of what has no history, the id itself."""

    def __init__(self, model: Any, at: datetime | None) -> None:
        self.model, self.at = model, at

    def __missing__(self, pk: str) -> str:
        row, column = None, self.model._meta.pk
        with suppress(ValidationError):
            if pk and self.at is not None:
                history = self.model.history.filter(**{column.attname: column.to_python(pk)})
                history = history.order_by("history_date", "history_id")
                row = history.filter(history_date__lte=self.at).last() or history.first()
        self[pk] = pk if row is None else str(row.name)
        return self[pk]


def safe(cell: Any) -> Any:
    """Text that a spreadsheet would take for a formula, with an apostrophe before it; numbers as they are."""
    is_amount = isinstance(cell, str) and cell[:1] == "-" and cell[1:].replace(".", "", 1).isdigit()
    starts = isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{cell}" if starts and not is_amount else cell
