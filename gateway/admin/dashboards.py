"""The page "Dashboards": pictures of the calls of any period, by workspace, model, key or user; each leads to its calls."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from audit.search import ANY, PERIODS, CallSearch
from audit.traffic import Wanted
from gateway.admin import home
from gateway.admin.breakdown import MOST_DAYS, Breakdown, Step, breakdown, percentiles
from gateway.admin.fullness import rings
from gateway.admin.home import COLOURS, FAILED, _chart, _dollars, _series, duration, moment_text, money, share, short
from tenants.queries import access_of, workspaces_for

FILTERS = ("workspace", "model", "key", "user", "provider", "route")
OFFERED = tuple((name, title) for name, (title, span) in PERIODS.items() if span is not None)
FIRST = "24h"
P99 = "#ef4444"
TITLES = {"model": "Models", "key": "Keys", "workspace": "Workspaces", "user": "End users"}


def dashboards(request: HttpRequest) -> HttpResponse:
    """One page for all of it; what it is of stands in the address."""
    given = {name: request.GET.get(name, "") for name in (*FILTERS, "period", "since", "until")}
    if not given["since"] and (given["period"] not in PERIODS or PERIODS[given["period"]][1] is None):
        given["period"] = FIRST
    search = CallSearch(given)
    found = breakdown(wanted(search, access_of(request.user).workspace_ids("view", "calls")))
    spending = [row["workspace"] for row in found.by["workspace"]]
    context = {
        **admin.site.each_context(request),
        "title": "Dashboards",
        "narrowed": _narrowed(search),
        "rings": rings(search, workspaces_for(request.user, "view", "money"), spending),
        "search": search,
        "periods": [
            {"title": title, "url": f"?{_query(search, period=name, since='', until='')}", "name": name}
            for name, title in OFFERED
        ],
        "filters": [{"name": name, "value": search.fields[name]} for name in FILTERS],
        "calls_url": calls_url(search),
        "kpis": _kpis(found, search),
        "charts": _charts(found, search),
        "rankings": _rankings(found, search),
    }
    return TemplateResponse(request, "tollgate/dashboards.html", context)


def wanted(search: CallSearch, workspace_ids: frozenset[Any] | None) -> Wanted:
    """The calls that the page is of."""
    since, until = window(search, timezone.now())
    return Wanted(workspace_ids, since, until, search.having, search.subjects())


def window(search: CallSearch, now: datetime) -> tuple[datetime, datetime]:
    """From when to when: at most a year, ending at the period's end."""
    until = min(search._moment("until") or now, now)
    since = search._moment("since")
    if since is None:
        span = PERIODS[search.fields["period"] or FIRST][1] or timedelta(days=MOST_DAYS)
        since = until - span
    return max(min(since, until), until - timedelta(days=MOST_DAYS)), until


def calls_url(search: CallSearch, **more: str) -> str:
    """The list of the calls behind a figure."""
    return home.calls_url(**(search.fields | more))


def _query(search: CallSearch, **more: str) -> str:
    return urlencode({name: value for name, value in (search.fields | more).items() if value})


def _narrowed(search: CallSearch) -> list[dict[str, str]]:
    """What the page is narrowed by, each with the address of the page without it."""
    given = [(name, search.fields[name]) for name in (*FILTERS, "since", "until") if search.fields[name]]
    return [{"name": name, "value": value, "url": f"?{_query(search, **{name: ''})}"} for name, value in given]


def _kpis(found: Breakdown, search: CallSearch) -> list[dict[str, str]]:
    total = found.total
    times, first = percentiles(total.times), percentiles(total.first_tokens)
    failed = _failed(total)
    return [
        _kpi("Calls", f"{total.calls:,}", f"{share(total.outcomes['answered'], total.calls)} answered", search),
        _kpi("Spend", money(total.cost_nanos), f"{money(total.cost_nanos // (total.calls or 1))} a call", search),
        _kpi(
            "Tokens",
            short(total.input_tokens + total.output_tokens),
            f"{short(total.input_tokens)} in, {short(total.output_tokens)} out",
            search,
        ),
        _kpi(
            "Whole answer, median",
            duration(times[0]),
            f"95 % within {duration(times[1])}, 99 % within {duration(times[2])}",
            search,
            outcome="answered",
        ),
        _kpi(
            "First token, median",
            duration(first[0]),
            f"95 % within {duration(first[1])}, 99 % within {duration(first[2])}",
            search,
            outcome="answered",
        ),
        _kpi(
            "Failed",
            share(failed, total.calls),
            f"{failed:,} failed, {total.outcomes['refused']:,} refused",
            search,
            outcome=FAILED,
        ),
        _kpi("From cache", share(total.hits, total.calls), f"{total.hits:,} calls", search, cache="hit"),
        _kpi(
            "Fell back",
            share(found.fell_back, found.opened),
            f"{found.fell_back:,} of {found.opened:,} calls that were not refused",
            search,
            fallback=ANY,
        ),
    ]


def _kpi(label: str, value: str, note: str, search: CallSearch, **more: str) -> dict[str, str]:
    return {"label": label, "value": value, "note": note, "url": calls_url(search, **more)}


def _charts(found: Breakdown, search: CallSearch) -> list[dict[str, Any]]:
    steps = found.steps

    def line(label: str, values: Sequence[Any], colour: str) -> dict[str, Any]:
        return _series(label, values, colour, line=True)

    def outcome(label: str, names: tuple[str, ...], colour: str) -> dict[str, Any]:
        return _series(label, [sum(step.outcomes[name] for name in names) for step in steps], colour)

    traffic = [
        outcome("Answered", ("answered",), COLOURS["answered"]),
        outcome("Client left", ("client_left",), COLOURS["left"]),
        outcome("Refused", ("refused",), COLOURS["refused"]),
        outcome("Failed", ("failed", "in_doubt"), COLOURS["failed"]),
    ]
    tokens = [
        _series("Input", [step.input_tokens - step.cached_tokens for step in steps], COLOURS["answered"]),
        _series("Input, cached by the provider", [step.cached_tokens for step in steps], COLOURS["left"]),
        _series("Output", [step.output_tokens for step in steps], COLOURS["cost"]),
    ]
    whole = [percentiles(step.times) for step in steps]
    first = [percentiles(step.first_tokens) for step in steps]
    colours = (("Median", COLOURS["p50"]), ("95 %", COLOURS["p95"]), ("99 %", P99))
    errors = [
        line("Failed", [_percent(_failed(step), step.calls) for step in steps], COLOURS["failed"]),
        line("Refused", [_percent(step.outcomes["refused"], step.calls) for step in steps], COLOURS["refused"]),
    ]
    cache = [line("From cache", [_percent(step.hits, step.calls) for step in steps], COLOURS["cost"])]
    drawn = [
        (_chart("Traffic", "calls", "bar", found.labels, traffic, stacked=True), {}),
        (
            _chart(
                "Spend",
                "US dollars",
                "bar",
                found.labels,
                [_series("Dollars", [_dollars(step.cost_nanos) for step in steps], COLOURS["cost"])],
            ),
            {},
        ),
        (_chart("Tokens", "tokens", "bar", found.labels, tokens, stacked=True), {}),
        (
            _chart("Time to the whole answer", "milliseconds", "line", found.labels, _quantiles(whole, colours)),
            {"outcome": "answered"},
        ),
        (
            _chart("Time to the first token", "milliseconds", "line", found.labels, _quantiles(first, colours)),
            {"outcome": "answered"},
        ),
        (_chart("Errors", "per cent of calls", "line", found.labels, errors), {"outcome": f"{FAILED},refused"}),
        (_chart("Answers from the cache", "per cent of calls", "line", found.labels, cache), {"cache": "hit"}),
    ]
    moments = json.dumps([moment_text(moment) for moment in (*found.moments, found.moments[-1] + found.step)])
    return [chart | {"url": calls_url(search, **more), "moments": moments} for chart, more in drawn]


def _failed(step: Step) -> int:
    return step.outcomes["failed"] + step.outcomes["in_doubt"]


def _quantiles(values: Sequence[tuple[int | None, ...]], colours: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    return [
        _series(
            label,
            [None if each[which] is None else round(each[which] / 1000, 1) for each in values],
            colour,
            line=True,
        )
        for which, (label, colour) in enumerate(colours)
    ]


def _rankings(found: Breakdown, search: CallSearch) -> list[dict[str, Any]]:
    rankings = [
        {
            "title": title,
            "rows": _ranked(found.by[name], name, search),
            "empty": "None in this period.",
        }
        for name, title in TITLES.items()
    ]
    errors = [
        {"name": row["code"], "figure": f"{row['calls']:,}", "weight": row["calls"], "code": row["code"]}
        for row in found.errors
    ]
    fallbacks = [
        {"name": f"{first} → {last}", "figure": f"{count:,}", "weight": count, "model": last, "fallback": first}
        for (first, last), count in found.fallbacks
    ]
    rankings.append(
        {
            "title": "Errors by kind",
            "rows": _weighed([row | {"url": calls_url(search, code=row.pop("code"))} for row in errors]),
            "empty": "Every call in this period was answered.",
        }
    )
    rankings.append(
        {
            "title": "Fallbacks",
            "rows": _weighed(
                [
                    row | {"url": calls_url(search, model=row.pop("model"), fallback=row.pop("fallback"))}
                    for row in fallbacks
                ]
            ),
            "empty": "Every call was answered by the model that it asked first.",
        }
    )
    return rankings


def _ranked(rows: Sequence[dict[str, Any]], name: str, search: CallSearch) -> list[dict[str, Any]]:
    weight = "cost" if any(row["cost"] for row in rows) else "calls"
    shown = []
    for row in rows:
        is_of_one = name in ("key", "user") and bool(row["workspace"])
        narrowed = {name: row[name]} | ({"workspace": row["workspace"]} if is_of_one else {})
        shown.append(
            {
                "name": f"{row['workspace']} / {row[name]}" if is_of_one else row[name],
                "figure": f"{money(row['cost'])} · {row['calls']:,} calls",
                "weight": row[weight],
                "url": calls_url(search, **narrowed),
                "narrow": f"?{_query(search, **narrowed)}",
            }
        )
    return _weighed(shown)


def _weighed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    most = max((row["weight"] for row in rows), default=0) or 1
    return [row | {"percent": row["weight"] * 100 // most} for row in rows]


def _percent(part: int, whole: int) -> float | None:
    return round(part * 100 / whole, 1) if whole else None


__all__ = ["Step", "dashboards", "window"]
