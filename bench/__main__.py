"""`python -m bench [--full] [--records N]`: one table of what calls cost, beside nginx in the same run."""

import argparse
import asyncio
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from bench import load
from bench.picture import draw
from bench.processes import CORES, Child, cpu_seconds, memory_mib, pin, tree, wait_for_port
from bench.scenarios import CALLS, KEY, SECRETS, STREAMS, Scenario, configuration
from bench.settling import Gateway, Used
from bench.upstreams import nginx, uvicorn
from tests.installation import Installation, free_port

GATEWAY_CORES, OTHER_CORES = CORES[:1], CORES[1:] or CORES
RESULTS = Path(__file__).parent / "results"
SHORT_SECONDS = 2.0
PLAIN_US = 21.0  # what `a plain answer` took on the machine for which the targets were set
Row = dict[str, Any]
Work = Callable[[], load.Result]


def measured(pids: list[int], work: Any) -> tuple[load.Result, float]:
    """The load's result, and the CPU seconds that these processes used meanwhile."""
    before = cpu_seconds(pids)
    result: load.Result = work()
    return result, cpu_seconds(pids) - before


def row(name: str, where: str, result: load.Result, used: Used, scenario: Scenario | None = None) -> Row:
    first, then = (scenario.first, scenario.then) if scenario else (None, None)
    if scenario and scenario.shared and where != "embedded":
        first, then = scenario.shared
    return {
        "what": name,
        "where": where,
        "cpu_us": round(used.calls / max(result.calls, 1) * 1e6, 1),
        "gc_us": round(used.collections / max(result.calls, 1) * 1e6, 1),
        "calls_per_s": round(result.calls / result.seconds),
        "p50_ms": round(result.p50_ms, 2),
        "p99_ms": round(result.p99_ms, 2),
        "calls": result.calls,
        "errors": result.errors,
        "first": first,
        "then": then,
    }


def floors(mock: int, proxy: int, served: Child, seconds: float) -> list[Row]:
    """What everything else is compared with: the provider itself, nginx as a plain reverse proxy before it, and a
    plain answer of the HTTP server under which the gateway runs."""
    port = free_port()
    plain = uvicorn(port, GATEWAY_CORES)
    rows = []
    try:
        for name, where, child, at, loading in (
            ("direct", "nginx", served, mock, GATEWAY_CORES),
            ("nginx proxy_pass", "nginx", served, proxy, GATEWAY_CORES),
            ("a plain answer", "uvicorn", plain, port, OTHER_CORES),
        ):
            url, cores = f"http://127.0.0.1:{at}/v1/chat/completions", ",".join(map(str, loading))
            result, cpu = measured(
                tree(child.process.pid),
                lambda url=url, cores=cores: load.closed(url, KEY, load.body_of("bare"), seconds=seconds, cores=cores),
            )
            rows.append(row(name, where, result, Used(cpu, 0.0, 0.0)))
    finally:
        plain.stop()
    return rows


def loads(gateway: Installation, scenario: Scenario, seconds: float) -> tuple[Work, Work]:
    """What warms a scenario up (connections, caches, the one call that a limited key has), and what is measured."""
    path = "/v1/chat/completions"
    if scenario in STREAMS:
        body = load.body_of(scenario.model, stream=True, **scenario.fields)

        def stream(at_once: int, rounds: int) -> load.Result:
            return asyncio.run(load.streams(gateway.port, path, scenario.key, body, at_once=at_once, rounds=rounds))

        return partial(stream, 20, 1), partial(stream, 200, max(1, int(seconds / 2)))
    body = load.body_of(scenario.model, unique=scenario.unique, **scenario.fields)
    cores = ",".join(map(str, OTHER_CORES))
    call = partial(load.closed, gateway.url + path, scenario.key, body, cores=cores, status=scenario.status)
    return partial(call, seconds=1), partial(call, seconds=seconds)


def gateway_rows(gateway: Installation, where: str, seconds: float) -> list[Row]:
    """Every scenario against one running gateway. Each row carries the writing of its own records and no other's."""
    running = Gateway(gateway.url, tree(gateway.processes[0].pid))
    work = [(scenario, *loads(gateway, scenario, seconds)) for scenario in (*CALLS, *STREAMS)]
    for _, warm, _ in work:
        warm()
    running.settle()
    rows = []
    for scenario, _, measure in work:
        result, used = running.measured(measure)
        rows.append(row(scenario.name, where, result, used, scenario))
        show(rows[-1])
    body = load.body_of("everything")
    result, used = running.measured(
        lambda: asyncio.run(load.open_loop(gateway.port, "/v1/chat/completions", KEY, body, rate=50, seconds=seconds))
    )
    rows.append(row("4 limits, 5 budgets, 50 calls/s", where, result, used))
    show(rows[-1])
    rows.append({"what": "memory", "where": where, "cpu_us": None, "amount": f"{memory_mib(running.pids):.0f} MiB"})
    rows.append(
        {"what": "idle", "where": where, "cpu_us": None, "amount": f"{running.idle * 1000:.0f} ms CPU a second"}
    )
    for each in rows[-2:]:
        sys.stdout.write(f"{where:<24}{each['what']:<38}{each['amount']}\n")
    return rows


def show(row: Row) -> None:
    target = f"  (first ≤ {row['first']:.0f}, then ≤ {row['then']:.0f})" if row.get("first") else ""
    sys.stdout.write(
        f"{row['where']:<24}{row['what']:<38}{row['cpu_us']:>9.1f} µs{row['gc_us']:>7.1f} gc{row['calls_per_s']:>8}/s"
        f"{row['p50_ms']:>9.2f}{row['p99_ms']:>9.2f} ms{row['errors']:>7} errors{target}\n"
    )
    sys.stdout.flush()


def table(rows: list[Row]) -> str:
    """The rows as a table in Markdown, for docs/performance.md; the targets as they are on a machine of this speed."""
    lines = [
        "| where | what | µs CPU a call | of that gc | × plain | × nginx | calls/s | × direct | median ms | p99 ms "
        "| first, here | then, here |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    direct, proxied, plain = rows[:3]
    here = plain["cpu_us"] / PLAIN_US
    for each in rows:
        if each.get("amount"):
            lines.append(f"| {each['where']} | {each['what']} | {each['amount']} | | | | | | | | | |")
            continue
        targets = [f"≤ {each[name] * here:,.0f}" if each.get(name) else "" for name in ("first", "then")]
        cells = [each["where"], each["what"], f"{each['cpu_us']:,.0f}", f"{each['gc_us']:,.0f}"]
        cells += [f"{each['cpu_us'] / floor['cpu_us']:.1f}" for floor in (plain, proxied)]
        cells += [f"{each['calls_per_s']:,}", f"{each['calls_per_s'] / direct['calls_per_s']:.3f}"]
        lines.append(f"| {' | '.join([*cells, str(each['p50_ms']), str(each['p99_ms']), *targets])} |")
    return "\n".join(lines) + "\n"


def run(*, full: bool, records: int) -> list[Row]:
    seconds = 20.0 if full else SHORT_SECONDS
    rows: list[Row] = []
    mock, proxy, stream = free_port(), free_port(), free_port()
    with ExitStack() as stack:
        child = nginx(mock, proxy, OTHER_CORES)
        stack.callback(child.stop)
        streaming = Child([sys.executable, "-m", "bench.upstreams", str(stream)], OTHER_CORES)
        stack.callback(streaming.stop)
        wait_for_port(stream)
        for each in floors(mock, proxy, child, seconds):
            rows.append(each)
            show(each)
        environments: list[tuple[str, dict[str, str], list[str]]] = [("embedded", {}, [])]
        if os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"):
            environments.append(("PostgreSQL + Redis", {}, ["--workers", "1"]))
            environments.append(("PostgreSQL + Redis, 2", {}, ["--workers", "2"]))
        traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{mock}", "TRACES_SAMPLE_RATIO": "0.05"}
        scaled = {name: os.environ.pop(name) for name in ("DATABASE_URL", "REDIS_URL") if name in os.environ}
        for where, environment, options in environments:
            if where != "embedded":
                os.environ.update(scaled)
            with Installation(**environment, **traced, **SECRETS) as gateway:
                if records:
                    filling = [sys.executable, "-m", "bench.fill_records", str(records)]
                    subprocess.run(filling, env={**os.environ, **gateway.environment}, check=True)
                gateway.apply(configuration(mock=mock, stream=stream))
                gateway.start(*options)
                pin(tree(gateway.processes[0].pid), CORES if "2" in options else GATEWAY_CORES)
                rows += gateway_rows(gateway, where, seconds)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help=f"20 s a row instead of {SHORT_SECONDS:.0f}")
    parser.add_argument("--records", type=int, default=0, help="with so many records behind it")
    options = parser.parse_args()
    rows = run(full=options.full, records=options.records)
    machine = {"cores": len(CORES), "python": platform.python_version(), "machine": platform.machine()}
    load.save(RESULTS / "latest.json", {"machine": machine, "rows": rows})
    (RESULTS / "latest.svg").write_text(draw(rows))
    (RESULTS / "latest.md").write_text(table(rows))
    sys.stdout.write(f"written: {RESULTS}/latest.json, latest.svg, latest.md\n")


if __name__ == "__main__":
    main()
