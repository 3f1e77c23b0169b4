"""Searches over calls and changes: what a form's fields mean, and one page of rows by keyset.

A page is read from an index in the order of time and ends after its rows: nothing is counted, nothing is skipped
over, so the ten-thousandth page costs what the first does. Searches without a period of their own look back 7 days.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from audit.models import AuditEvent, CallRecord, Feedback, Subject
from audit.rows import at_microsecond, micros
from gateway.core.money import nanos

PAGE_ROWS = 50
PERIODS = {
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(hours=24)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "30d": ("Last 30 days", timedelta(days=30)),
    "all": ("All time", None),
}
DEFAULT_PERIOD = "7d"
OUTCOMES = ("answered", "refused", "failed", "client_left", "in_doubt")

ANY = "any"
OPINIONS = {"good": "score__gt", "bad": "score__lt", "any": ""}
OPINIONS_MOST = 1000  # the newest, whose calls are found

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Some rows, newest first, and the cursor of the next page if there is one."""

    rows: list[Row]
    older: str


def page_of(found: QuerySet[Any], cursor: str, *, size: int = PAGE_ROWS) -> Page[Any]:
    """The rows that follow the cursor. A cursor that is none is taken as the beginning."""
    at, row_id = read_cursor(cursor)
    if at is not None:
        found = found.filter(at__lte=at).filter(Q(at__lt=at) | Q(pk__lt=row_id))
    rows = list(found.order_by("-at", "-pk")[: size + 1])
    return Page(rows[:size], cursor_of(rows[size - 1]) if len(rows) > size else "")


def cursor_of(row: Any) -> str:
    """What `page_of` takes to go on after this row."""
    return f"{micros(row.at)}.{row.pk}"


def read_cursor(cursor: str) -> tuple[datetime | None, str]:
    us, _, row_id = cursor.partition(".")
    try:
        return at_microsecond(int(us)), row_id
    except (ValueError, OverflowError):
        return None, ""


class Search:
    """What somebody looks for. `fields` are the form's values; unknown ones are passed over, wrong ones are told."""

    names: tuple[str, ...] = ("period", "since", "until", "workspace")

    def __init__(self, given: Mapping[str, str]) -> None:
        self.fields = {name: given.get(name, "").strip() for name in self.names}
        self.errors: dict[str, str] = {}
        if self.fields["period"] not in PERIODS:
            self.fields["period"] = "" if self.fields["since"] or self.fields["until"] else DEFAULT_PERIOD

    @property
    def query(self) -> str:
        """The search as a query string, to be linked to and saved."""
        return urlencode({name: value for name, value in self.fields.items() if value})

    @property
    def is_narrowed(self) -> bool:
        return any(value for name, value in self.fields.items() if name != "period")

    def _in_time(self, found: QuerySet[Any]) -> QuerySet[Any]:
        if (since := self.since()) is not None:
            found = found.filter(at__gte=since)
        if (until := self._moment("until")) is not None:
            found = found.filter(at__lt=until)
        return found

    def since(self) -> datetime | None:
        """From when on is searched; None where all that is older counts, too."""
        span = PERIODS[self.fields["period"]][1] if self.fields["period"] else None
        bounds = [timezone.now() - span if span is not None else None, self._moment("since")]
        return max((each for each in bounds if each is not None), default=None)

    def _moment(self, name: str) -> datetime | None:
        value = self.fields[name]
        if not value:
            return None
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.errors[name] = "Write a moment like 2026-01-31 08:00."
            return None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def in_workspaces(found: QuerySet[Any], workspace_ids: frozenset[Any] | None) -> QuerySet[Any]:
    """Only rows of these workspaces; None means all, also what belongs to none."""
    if workspace_ids is None:
        return found
    ids = [str(each) for each in workspace_ids]
    return found.filter(workspace_id=ids[0]) if len(ids) == 1 else found.filter(workspace_id__in=ids)


class CallSearch(Search):
    """A search over calls."""

    names = (
        *Search.names,
        *("key", "team", "user", "model", "provider", "route", "prompt", "outcome", "status", "code", "cache"),
        *("tag", "session", "run", "call", "min_cost", "min_ms", "feedback", "text", "fallback"),
    )
    exact = {
        "workspace": "workspace",
        "key": "key",
        "team": "team",
        "model": "model",
        "provider": "provider",
        "route": "route",
        "outcome": "outcome",
        "code": "code",
        "session": "session_id",
        "run": "run_id",
    }

    @property
    def having(self) -> dict[str, Any]:
        """The names that are looked for and summed up by (audit.traffic), as conditions of a query."""
        return self._conditions(set(self.exact) - {"team", "session", "run"})

    def _conditions(self, names: Collection[str]) -> dict[str, Any]:
        """What these columns must hold. Ways of ending may be given together, with commas between."""
        conditions: dict[str, Any] = {}
        for name, column in self.exact.items():
            if name in names and (value := self.fields[name]):
                several = value.split(",") if name == "outcome" else [value]
                conditions |= {column: value} if len(several) == 1 else {f"{column}__in": several}
        return conditions

    def found(self, workspace_ids: frozenset[Any] | None) -> QuerySet[CallRecord]:
        """The calls of these workspaces that fit, without order or limit. `text` is applied by whoever opens bodies."""
        fields = self.fields
        found = in_workspaces(CallRecord.objects.all(), workspace_ids)
        if fields["call"]:  # an id says all there is to say
            return found.filter(pk=fields["call"])
        found = self._in_time(found)
        found = found.filter(**self._conditions(self.exact))
        if (subjects := self.subjects()) is not None:
            found = found.filter(subject=min(subjects)) if len(subjects) == 1 else found.filter(subject__in=subjects)
        if fields["prompt"]:
            exactly = "@" in fields["prompt"]
            found = found.filter(**{"prompt" if exactly else "prompt__startswith": fields["prompt"]})
        if fields["tag"]:
            found = found.filter(tags__isnull=False, tags__contains=f'"{fields["tag"]}"')
        if fields["cache"]:
            found = found.filter(cache__startswith=fields["cache"])
        if fields["feedback"] in OPINIONS:
            found = found.filter(pk__in=self._judged(workspace_ids))
        return self._by_number(found)

    def _judged(self, workspace_ids: frozenset[Any] | None) -> list[str]:
        """Ids of the calls that somebody thought so of."""
        opinions = in_workspaces(Feedback.objects.all(), workspace_ids)
        if bound := OPINIONS[self.fields["feedback"]]:
            opinions = opinions.filter(**{bound: 0})
        return list(opinions.order_by("-at").values_list("call_id", flat=True)[:OPINIONS_MOST])

    def subjects(self) -> frozenset[str] | None:
        """The pseudonyms of the end user who is looked for, by name or pseudonym; None when nobody is."""
        if not (user := self.fields["user"]):
            return None
        tokens = frozenset(Subject.objects.filter(Q(name=user) | Q(token=user)).values_list("token", flat=True))
        return tokens or frozenset({user} if len(user) == 32 else ())

    def _by_number(self, found: QuerySet[CallRecord]) -> QuerySet[CallRecord]:
        fields = self.fields
        if (status := fields["status"].lower()) and status.endswith("xx") and status[:1].isdigit():
            found = found.filter(status__gte=int(status[0]) * 100, status__lt=int(status[0]) * 100 + 100)
        elif status.isdigit():
            found = found.filter(status=int(status[:5]))
        elif status:
            self.errors["status"] = "Write a status like 429, or 5xx."
        try:
            if fields["min_cost"]:
                found = found.filter(cost_nanos__gte=min(nanos(fields["min_cost"].lstrip("$")), 2**63 - 1))
        except ValueError:
            self.errors["min_cost"] = "Write an amount of dollars like 0.05."
        try:
            if fields["min_ms"]:
                found = found.filter(total_us__gte=min(int(float(fields["min_ms"]) * 1000), 2**63 - 1))
        except (ValueError, OverflowError):
            self.errors["min_ms"] = "Write a number of milliseconds."
        return found


class EventSearch(Search):
    """A search over changes."""

    names = (*Search.names, "kind", "who", "what", "name", "from")

    def found(self, workspace_ids: frozenset[Any] | None) -> QuerySet[AuditEvent]:
        fields = self.fields
        found = self._in_time(in_workspaces(AuditEvent.objects.all(), workspace_ids))
        for name, column in (("workspace", "workspace"), ("kind", "kind"), ("what", "object_type"), ("who", "actor")):
            if fields[name]:
                found = found.filter(**{column: fields[name]})
        if fields["name"]:
            found = found.filter(object_name__icontains=fields["name"])
        if fields["from"]:
            found = found.filter(origin__startswith=fields["from"])
        return found
