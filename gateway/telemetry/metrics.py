"""Prometheus figures of this process's calls, kept as plain numbers: a call costs a few dictionary additions.

Labels are bounded. Names from the configuration (workspace, route, model, provider) are labels up to MOST_SERIES of
them; whatever comes after counts as "other". What callers write (users, unknown models) is never a label.

Several workers: each writes its figures beside the others' once a second, and whoever is scraped adds them up
(shared.py), so a scrape tells of the whole installation on this machine.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from gateway.core.call import Call

MOST_SERIES = 2000
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
OWN_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1)

CALL = ("workspace", "route", "model", "provider", "outcome", "code")
MODEL = ("workspace", "model", "provider")
COUNTERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "tollgate_calls": ("Calls by how they ended.", CALL),
    "tollgate_input_tokens": ("Input tokens, cached ones included.", MODEL),
    "tollgate_cached_input_tokens": ("Input tokens that the provider had cached.", MODEL),
    "tollgate_output_tokens": ("Output tokens, reasoning included.", MODEL),
    "tollgate_cost_usd": ("What calls cost, in US dollars.", MODEL),
    "tollgate_attempts": ("Requests to providers by how they ended.", ("provider", "model", "outcome")),
    "tollgate_cache": ("Look-ups in the cache by their result.", ("workspace", "route", "result")),
    "tollgate_redacted": ("Values that were masked.", ("workspace",)),
    "tollgate_overload_refused": ("Calls that found no place.", ()),
    "tollgate_gc_seconds": ("CPU that went into looking for cycles of objects.", ()),
}
GAUGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "tollgate_overload_running": ("Calls that hold a place now, in all workers.", ()),
    "tollgate_overload_limit": ("Calls that may hold a place at once now, in all workers.", ()),
    "tollgate_journal_bytes": ("What the journal holds and the database does not have yet, in all workers.", ()),
    "tollgate_circuits": (
        "Workers by the state of their circuit to this place: closed, cooling, open, half_open.",
        ("provider", "model", "credential", "state"),
    ),
}
HISTOGRAMS: Mapping[str, tuple[str, tuple[str, ...], tuple[float, ...]]] = {
    "tollgate_call_seconds": ("From the first byte of a call to the last of its answer.", ("route", "model"), SECONDS),
    "tollgate_first_token_seconds": ("To the first piece of an answer.", ("route", "model"), SECONDS),
    "tollgate_own_seconds": ("The gateway's own share of a call.", ("route",), OWN_SECONDS),
}
NANOS = 1e9
Series = dict[str, dict[tuple[str, ...], Any]]


class Metrics:
    """What this process counted. `note` is told of every call; `figures` is what a worker shares with the others."""

    def __init__(self) -> None:
        self.counters: Series = {name: {} for name in COUNTERS}
        self.histograms: Series = {name: {} for name in HISTOGRAMS}
        self.gauges: Series = {name: {} for name in GAUGES}
        self.in_flight = 0
        self.look: Callable[[Metrics], None] | None = None  # brings what is read and not counted up to date

    def set(self, name: str, values: Mapping[tuple[str, ...], float]) -> None:
        """What a gauge shows now, for all its labels; those beyond the bound count together."""
        shown = dict(list(values.items())[:MOST_SERIES])
        if rest := list(values.values())[MOST_SERIES:]:
            shown[("other",) * len(GAUGES[name][1])] = sum(rest)
        self.gauges[name] = shown

    def note(self, call: Call) -> None:
        """Count a call that has ended."""
        caller = call.caller
        workspace = caller.workspace if caller is not None else ""
        target = call.attempts[-1].target if call.attempts else None
        model, provider = (target.model, target.provider) if target is not None else ("", "")
        self.add("tollgate_calls", (workspace, call.route, model, provider, call.outcome, call.code))
        if call.cache and call.cache != "off":
            self.add("tollgate_cache", (workspace, call.route, call.cache))
        if call.redacted:
            self.add("tollgate_redacted", (workspace,), call.redacted)
        if target is None:
            return
        usage, of_model = call.usage, (workspace, model, provider)
        self.add("tollgate_input_tokens", of_model, usage.input)
        self.add("tollgate_output_tokens", of_model, usage.output)
        if usage.cached:
            self.add("tollgate_cached_input_tokens", of_model, usage.cached)
        if call.cost_nanos:
            self.add("tollgate_cost_usd", of_model, call.cost_nanos)
        for attempt in call.attempts:
            self.add("tollgate_attempts", (attempt.target.provider, attempt.target.model, attempt.outcome))
        elapsed = call.elapsed
        self.observe("tollgate_call_seconds", (call.route, model), elapsed)
        self.observe("tollgate_own_seconds", (call.route,), max(0.0, elapsed - call.upstream_seconds))
        if call.ttft is not None:
            self.observe("tollgate_first_token_seconds", (call.route, model), call.ttft)

    def add(self, name: str, labels: tuple[str, ...], amount: int = 1) -> None:
        series = self.counters[name]
        try:
            series[labels] += amount
        except KeyError:
            labels = labels if len(series) < MOST_SERIES else ("other",) * len(labels)
            series[labels] = series.get(labels, 0) + amount

    def observe(self, name: str, labels: tuple[str, ...], seconds: float) -> None:
        put_in(self.histograms[name], HISTOGRAMS[name][2], labels, seconds)

    def figures(self) -> dict[str, list[tuple[list[str], Any]]]:
        """Everything counted so far, as plain data."""
        if self.look is not None:
            self.look(self)
        return {
            name: [(list(labels), value) for labels, value in list(series.items())]
            for name, series in (*self.counters.items(), *self.histograms.items(), *self.gauges.items())
        }


def put_in(
    series: dict[tuple[str, ...], Any], bounds: tuple[float, ...], labels: tuple[str, ...], value: float
) -> None:
    """Count a value in the histogram of these labels: its sum stands first, then how many fell below each bound."""
    found = series.get(labels)
    if found is None:
        labels = labels if len(series) < MOST_SERIES else ("other",) * len(labels)
        found = series.setdefault(labels, [0.0, *([0] * (len(bounds) + 1))])
    found[0] += value
    found[1 + bisect_left(bounds, value)] += 1


def summed(all_figures: Iterable[Mapping[str, Iterable[tuple[list[str], Any]]]]) -> Series:
    """The figures of several workers, added up series by series."""
    total: Series = {name: {} for name in (*COUNTERS, *HISTOGRAMS, *GAUGES)}
    for figures in all_figures:
        for name, series in figures.items():
            if name not in total:
                continue
            for labels, value in series:
                key = tuple(labels)
                before = total[name].get(key)
                if before is None:
                    total[name][key] = value
                elif isinstance(value, list):
                    total[name][key] = [one + two for one, two in zip(before, value, strict=True)]
                else:
                    total[name][key] = before + value
    return total


def families(total: Series, *, in_flight: int, workers: int) -> Iterable[Metric]:
    """The figures in Prometheus's own shapes."""
    for name, (text, labels) in COUNTERS.items():
        counter = CounterMetricFamily(name, text, labels=labels)
        for key, value in total[name].items():
            counter.add_metric(key, value / NANOS if name == "tollgate_cost_usd" else value)
        yield counter
    for name, (text, labels, bounds) in HISTOGRAMS.items():
        histogram = HistogramMetricFamily(name, text, labels=labels)
        for key, (total_seconds, *counts) in total[name].items():
            buckets, below = [], 0
            for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
                below += count
                buckets.append((bound, below))
            histogram.add_metric(key, buckets, sum_value=total_seconds)
        yield histogram
    for name, (text, labels) in GAUGES.items():
        gauge = GaugeMetricFamily(name, text, labels=labels)
        for key, value in total[name].items():
            gauge.add_metric(key, value)
        yield gauge
    yield GaugeMetricFamily("tollgate_calls_in_flight", "Calls that this worker is answering now.", value=in_flight)
    yield GaugeMetricFamily("tollgate_workers", "Workers of this installation on this machine.", value=workers)
