"""Reading calls and changes: searches that stay fast at millions of rows."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from audit.models import CallRecord, Feedback, Subject
from gateway.core.money import dollars


def user_names(records: Iterable[CallRecord]) -> dict[tuple[str, str], str]:
    """The end users behind these records' pseudonyms, by (workspace id, pseudonym). One query."""
    tokens = {record.subject for record in records if record.subject}
    if not tokens:
        return {}
    found = Subject.objects.filter(token__in=tokens).exclude(name="")
    return {(row.workspace_id, row.token): row.name for row in found}


def as_contract(record: CallRecord, names: dict[tuple[str, str], str]) -> dict[str, Any]:
    """A record as `manage.py calls` and the export show it: the contract's fields first, then the rest."""
    rest = record.details
    return {
        "call_id": record.id,
        "at": record.at.isoformat().replace("+00:00", "Z"),
        "workspace": record.workspace or None,
        "team": record.team or None,
        "key": record.key or None,
        "user": names.get((record.workspace_id, record.subject or ""), record.subject) or None,
        "route": record.route or None,
        "model": record.model or None,
        "provider": record.provider or None,
        "prompt": record.prompt or None,
        "status": record.status,
        "outcome": record.outcome,
        "code": record.code or None,
        "streamed": record.streamed,
        "input_tokens": record.input_tokens,
        "output_tokens": record.output_tokens,
        "cost_usd": dollars(record.cost_nanos),
        "cache": record.cache or None,
        "attempts": [attempt_as_contract(attempt) for attempt in rest.get("attempts", [])],
        "ttft_ms": record.ttft_ms,
        "ms": record.total_ms,
        "redacted": record.redacted,
        "tags": record.tag_list,
        "form": record.form,
        "asked": record.asked or None,
        "cached_tokens": record.cached_tokens,
        "cache_write_tokens": rest.get("cache_write_tokens", 0),
        "reasoning_tokens": rest.get("reasoning_tokens", 0),
        "experiment": record.experiment or None,
        "session_id": record.session_id or None,
        "run_id": record.run_id or None,
        "metadata": rest.get("metadata", {}),
        "finish_reason": rest.get("finish"),
        "message": rest.get("message"),
        "trace_id": rest.get("trace_id"),
        "trace_sampled": rest.get("trace_sampled", False) if "trace_id" in rest else None,
    }


def newest_scores(calls: Sequence[CallRecord]) -> dict[str, float]:
    """Call id → the newest score that somebody gave it, of those that have one."""
    rows = Feedback.objects.filter(call_id__in=[call.pk for call in calls]).order_by("at")
    return {call_id: score for call_id, score in rows.values_list("call_id", "score") if score is not None}


def attempt_as_contract(attempt: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": attempt["model"],
        "provider": attempt["provider"],
        "status": attempt.get("status"),
        "outcome": attempt.get("outcome", ""),
        "cost_usd": dollars(attempt.get("cost_nanos", 0)),
        "ms": attempt.get("us", 0) / 1000,
        "reason": attempt.get("reason") or None,
        "credential": attempt.get("credential") or None,
    }


def contract_lines(records: Iterable[CallRecord], *, batch: int = 500) -> Iterator[dict[str, Any]]:
    """Each record as a dictionary, with one query for the users' names per `batch` records."""
    waiting: list[CallRecord] = []
    for record in records:
        waiting.append(record)
        if len(waiting) == batch:
            yield from _named(waiting)
            waiting = []
    yield from _named(waiting)


def _named(records: list[CallRecord]) -> Iterator[dict[str, Any]]:
    names = user_names(records)
    return (as_contract(record, names) for record in records)
