"""Exports: what a person may see of the records, as CSV or JSON lines, streamed, and told to the audit."""

import csv
import json
from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse

from audit.models import CallRecord
from audit.origin import Origin
from audit.queries import contract_lines
from audit.services.changes import record_event

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
EXPORTED_MOST = 1_000_000
COLUMNS = (
    *("call_id", "at", "workspace", "team", "key", "user", "route", "model", "provider", "prompt", "status", "outcome"),
    *("code", "streamed", "input_tokens", "output_tokens", "cost_usd", "cache", "ttft_ms", "ms", "redacted", "tags"),
    *("session_id", "run_id", "experiment", "metadata", "attempts"),
)


def export_calls(*, found: QuerySet[CallRecord], kind: str, query: str, origin: Origin) -> StreamingHttpResponse:
    """The calls found, newest first. `found` is limited to what the person may see; the export is recorded first."""
    record_event(kind="export", origin=origin, data={"what": "calls", "as": kind, "search": query})
    rows = contract_lines(found.order_by("-at", "-pk")[:EXPORTED_MOST].iterator(chunk_size=500))
    response = StreamingHttpResponse(csv_lines(rows) if kind == "csv" else json_lines(rows), content_type=TYPES[kind])
    response["Content-Disposition"] = f'attachment; filename="calls.{kind}"'
    return response


def json_lines(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        yield json.dumps(row, ensure_ascii=False) + "\n"


def csv_lines(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Lines of CSV in which no cell is a formula to a spreadsheet."""
    writer = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    for row in rows:
        yield writer.writerow([cell(row[column]) for column in COLUMNS])


def cell(value: Any) -> str:
    """A value as the text of one cell; what a spreadsheet would compute gets an apostrophe in front."""
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        value = json.dumps(value, ensure_ascii=False) if value else ""
    if not isinstance(value, str):
        return str(value)
    return f"'{value}" if value.startswith(FORMULA_STARTS) else value


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text
