"""The home page: what the gateway does, at a glance. Pictures first; every figure is of calls that were recorded."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from audit.models import CallRecord
from gateway.admin.figures import PERIODS, Bucket, Figures, Period, Totals, figures, percentile
from gateway.core.money import NANOS
from gateway.models import Provider, ServedModel
from tenants.models import ApiKey, Workspace
from tenants.queries import access_of

CALLS = "admin:audit_callrecord_changelist"
FAILED = "failed,in_doubt"  # what a figure of failed calls counts
CallsUrl = Callable[..., str]  # fields of a search -> address
COLOURS = {
    "answered": "var(--color-primary-500)",
    "left": "#94a3b8",
    "refused": "#f59e0b",
    "failed": "#ef4444",
    "cost": "#6366f1",
    "p50": "var(--color-primary-500)",
    "p95": "#f59e0b",
}


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's callback for the index page."""
    period = next((each for each in PERIODS if each.name == request.GET.get("period")), PERIODS[1])
    offered = _offered(request)
    chosen = next((each for each in offered if str(each.pk) == request.GET.get("workspace")), None)
    ids = access_of(request.user).workspace_ids("view", "calls") if chosen is None else frozenset({chosen.pk})
    found = figures(workspace_ids=ids, period=period, until=timezone.now())
    calls = partial(calls_url, since=moment_text(found.moments[0]), workspace=chosen.name if chosen else "")
    return {
        **context,
        "periods": [_link(each, chosen, each is period) for each in PERIODS],
        "workspaces": offered,
        "chosen": chosen,
        "period": period,
        "has_calls": bool(found.newest),
        "kpis": _kpis(found, calls),
        "charts": _charts(found, calls),
        "models": _ranked(found.models, "model", calls),
        "keys": _ranked(found.keys, "key", calls, beside="" if chosen else "workspace"),
        "errors": _counted(found.errors, calls),
        "newest": [_line(record) for record in found.newest],
        "calls_url": _url(CALLS),
        "steps": _steps(request) if not found.newest else [],
    }


def _offered(request: HttpRequest) -> list[Workspace]:
    ids = access_of(request.user).workspace_ids("view", "calls")
    rows = Workspace.objects.all() if ids is None else Workspace.objects.filter(pk__in=ids)
    return list(rows.only("pk", "name")[:200])


def _link(period: Period, chosen: Workspace | None, current: bool) -> dict[str, Any]:
    query = {"period": period.name} | ({"workspace": chosen.pk} if chosen else {})
    return {"title": period.title, "url": f"?{urlencode(query)}", "current": current}


def calls_url(**search: str) -> str:
    """The list of the calls behind a figure; what is empty does not narrow it."""
    return f"{_url(CALLS)}?{urlencode({name: value for name, value in search.items() if value})}"


def moment_text(moment: datetime) -> str:
    """A moment, UTC, as a search takes it."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _kpis(found: Figures, calls: CallsUrl) -> list[dict[str, str]]:
    """The figures, each with the address of its calls."""
    now, before = found.now, found.before
    return [
        {"label": "Calls", "value": f"{now.calls:,}", "url": calls(), **_change(now.calls, before.calls)},
        {
            "label": "Spend",
            "value": money(now.cost_nanos),
            "url": calls(),
            **_change(now.cost_nanos, before.cost_nanos),
        },
        {
            "label": "Tokens",
            "url": calls(),
            "value": short(now.input_tokens + now.output_tokens),
            "note": f"{short(now.input_tokens)} in, {short(now.output_tokens)} out",
        },
        {
            "label": "Median time",
            "url": calls(outcome="answered"),
            "value": duration(found.p50_us),
            "note": f"95 % within {duration(found.p95_us)}, first token {duration(found.ttft_p50_us)}",
        },
        {
            "label": "Answered",
            "value": share(now.answered, now.calls),
            "url": calls(outcome="answered"),
            **_not_answered(now),
        },
        {
            "label": "From cache",
            "url": calls(cache="hit"),
            "value": share(now.cached, now.calls),
            "note": f"{now.redacted:,} calls with masked data",
        },
    ]


def _change(now: int, before: int) -> dict[str, str]:
    """Against the period before; nothing is said where there was none."""
    if not before:
        return {"note": "nothing in the period before" if now else "none yet"}
    part = Decimal(now - before) / before * 100
    return {"note": f"{part:+.0f} % against the period before"}


def _not_answered(now: Totals) -> dict[str, str]:
    note = f"{now.failed:,} failed, {now.refused:,} refused"
    bad = now.calls and now.failed * 100 >= now.calls  # one in a hundred
    return {"note": note, "tone": "tg-bad" if bad else ""}


def _charts(found: Figures, calls: CallsUrl) -> list[dict[str, Any]]:
    buckets = found.buckets
    traffic = [
        _series("Answered", [each.answered for each in buckets], COLOURS["answered"]),
        _series("Client left", [each.left for each in buckets], COLOURS["left"]),
        _series("Refused", [each.refused for each in buckets], COLOURS["refused"]),
        _series("Failed", [each.failed for each in buckets], COLOURS["failed"]),
    ]
    spend = [_series("Dollars", [_dollars(each.cost_nanos) for each in buckets], COLOURS["cost"])]
    latency = [
        _series("Median", [_ms(each, 50) for each in buckets], COLOURS["p50"], line=True),
        _series("95 %", [_ms(each, 95) for each in buckets], COLOURS["p95"], line=True),
    ]
    errors = [
        _series("Failed %", [_percent(each.failed, each.calls) for each in buckets], COLOURS["failed"]),
        _series("Refused %", [_percent(each.refused, each.calls) for each in buckets], COLOURS["refused"]),
    ]
    drawn = [
        (_chart("Traffic", "calls", "bar", found.labels, traffic, stacked=True), {}),
        (_chart("Spend", "US dollars", "bar", found.labels, spend), {}),
        (_chart("Time to the whole answer", "milliseconds", "line", found.labels, latency), {"outcome": "answered"}),
        (
            _chart("Errors", "per cent of calls", "bar", found.labels, errors, stacked=True),
            {"outcome": f"{FAILED},refused"},
        ),
    ]
    moments = json.dumps([moment_text(moment) for moment in found.moments])
    return [chart | {"url": calls(**more), "moments": moments} for chart, more in drawn]


def _series(label: str, values: Sequence[Any], colour: str, *, line: bool = False) -> dict[str, Any]:
    # Points and gaps as they are: a curve across hours without calls would show what nobody measured.
    shape = {"borderWidth": 2, "pointRadius": 2, "spanGaps": False} if line else {"borderRadius": 2}
    return {"label": label, "data": list(values), "borderColor": colour, "backgroundColor": colour, **shape}


def _chart(
    title: str, unit: str, kind: str, labels: Sequence[str], series: list[dict[str, Any]], *, stacked: bool = False
) -> dict[str, Any]:
    tick = {"color": "#94a3b8", "maxRotation": 0, "autoSkipPadding": 16}
    options = {
        "animation": False,
        "responsive": True,
        "maintainAspectRatio": False,
        "interaction": {"mode": "index", "intersect": False},
        "plugins": {
            "legend": {
                "display": len(series) > 1,
                "align": "end",
                "labels": {"color": "#94a3b8", "boxWidth": 8, "boxHeight": 8, "usePointStyle": True},
            }
        },
        "scales": {
            "x": {"stacked": stacked, "ticks": tick, "grid": {"display": False}},
            "y": {"stacked": stacked, "beginAtZero": True, "ticks": {**tick, "maxTicksLimit": 5}, "grid": {}},
        },
    }
    return {
        "title": title,
        "unit": unit,
        "kind": kind,
        "data": json.dumps({"labels": list(labels), "datasets": series}),
        "options": json.dumps(options),
    }


def _ranked(rows: Sequence[dict[str, Any]], name: str, calls: CallsUrl, beside: str = "") -> list[dict[str, Any]]:
    most = max((row["cost"] or 0 for row in rows), default=0)
    by_calls = not most
    most = most or max((row["calls"] for row in rows), default=0)
    return [
        {
            "name": f"{row[beside]} / {row[name]}" if beside else row[name],
            "figure": f"{money(row['cost'] or 0)} · {row['calls']:,} calls",
            "percent": (row["calls"] if by_calls else row["cost"] or 0) * 100 // (most or 1),
            "url": calls(**{column: row[column] for column in (name, beside) if column}),
        }
        for row in rows
    ]


def _counted(rows: Sequence[dict[str, Any]], calls: CallsUrl) -> list[dict[str, Any]]:
    most = max((row["calls"] for row in rows), default=1)
    return [
        {
            "name": row["code"],
            "figure": f"{row['calls']:,}",
            "percent": row["calls"] * 100 // most,
            "url": calls(code=row["code"]),
        }
        for row in rows
    ]


def _line(record: CallRecord) -> dict[str, Any]:
    return {
        "url": _url("admin:audit_callrecord_change", record.pk),
        "at": record.at,
        "who": " / ".join(part for part in (record.workspace, record.key) if part) or "nobody known",
        "what": " → ".join(dict.fromkeys(part for part in (record.route or record.asked, record.model) if part)) or "–",
        "outcome": record.outcome.replace("_", " "),
        "tone": {"answered": "tg-good", "refused": "tg-warn", "client_left": "tg-quiet"}.get(record.outcome, "tg-bad"),
        "status": record.status,
        "figure": f"{duration(record.total_us)} · {money(record.cost_nanos)}",
    }


def _steps(request: HttpRequest) -> list[dict[str, Any]]:
    """What is left to do before the first call, for somebody who may do it."""
    steps = [
        ("Add a provider with its credential", "gateway.provider", Provider.objects.exists()),
        ("Add a model of it", "gateway.servedmodel", ServedModel.objects.exists()),
        ("Add a workspace", "tenants.workspace", Workspace.objects.exists()),
        ("Issue a key for your application", "tenants.apikey", ApiKey.objects.exists()),
    ]
    found = []
    for title, label, done in steps:
        page = next((page for model, page in admin.site._registry.items() if model._meta.label_lower == label), None)
        may = page is not None and page.has_add_permission(request)
        found.append({"title": title, "done": done, "url": _url(f"admin:{label.replace('.', '_')}_add") if may else ""})
    return [*found, {"title": "Send the first call; it appears here within a second", "done": False, "url": ""}]


def _url(name: str, *args: Any) -> str:
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return ""


def money(nanos: int) -> str:
    """Dollars for the eye: two places, or as many as the first two digits that count need."""
    amount = Decimal(nanos) / NANOS
    if not amount:
        return "$0"
    if amount >= Decimal("0.1"):
        return f"${amount:,.2f}"
    return f"${amount:.{1 - amount.adjusted()}f}"


def duration(us: int | None) -> str:
    """A span for the eye, from microseconds."""
    if us is None:
        return "–"
    if us < 1000:
        return f"{us} µs"
    return f"{us / 1000:.0f} ms" if us < 1_000_000 else f"{us / 1_000_000:.1f} s"


def short(count: int) -> str:
    """A count for the eye: 1.2 k, 3.4 M."""
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1000, "k")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)


def share(part: int, whole: int) -> str:
    """Per cent; a hundred only when it is all of them."""
    if not whole:
        return "–"
    tenths = part * 1000 // whole
    return f"{tenths // 10} %" if tenths in (0, 1000) else f"{tenths / 10:.1f} %"


def _dollars(nanos: int) -> str:
    return f"{Decimal(nanos) / NANOS:.6f}"


def _ms(bucket: Bucket, percent: int) -> float | None:
    found = percentile(bucket.durations, percent)
    return None if found is None else round(found / 1000, 1)


def _percent(part: int, whole: int) -> float | None:
    return round(part * 100 / whole, 2) if whole else None
