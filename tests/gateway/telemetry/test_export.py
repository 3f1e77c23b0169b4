"""A real receiver is sent the figures that Prometheus scrapes, and the conventions' own beside them."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway.compiler import listeners
from gateway.configuration import Services
from gateway.core.call import Attempt, Call, Caller, Target, Usage
from gateway.edge.chat import Chat
from gateway.runtime import open_export
from gateway.telemetry.conventions import FIGURES
from gateway.telemetry.export import Export
from gateway.telemetry.metrics import COUNTERS, GAUGES, HISTOGRAMS, MOST_SERIES, Metrics
from tests.gateway.telemetry.receiver import Receiver
from tests.installation import KEY, Installation
from tests.upstream.server import Upstream

CALLER = Caller(workspace_id="1", workspace="acme", key_id="k", key="web")
TARGET = Target(
    model="gpt", provider="ours", kind="openai", base_url="https://api.openai.com/v1", upstream="gpt-4o-mini"
)
OF_OPENAI = {
    "gen_ai__operation__name": "chat",
    "gen_ai__provider__name": "openai",
    "gen_ai__request__model": "gpt-4o-mini",
    "server__address": "api.openai.com",
    "server__port": 443,
}


def ended(upstream: str = "gpt-4o-mini") -> Call:
    """A streamed call whose first attempt was turned away and whose second one answered."""
    target = Target(model="gpt", provider="ours", kind="openai", base_url=TARGET.base_url, upstream=upstream)
    call = Call(id="1", form=Chat(), body={}, caller=CALLER, route="chat", outcome="answered", stream=True)
    call.usage = Usage(input=10, cached=4, output=5)
    call.cost_nanos, call.ended, call.ttft = 1_500_000_000, 0.5, 0.2
    call.attempts = [
        Attempt(target, 0.0, outcome="failed", reason="rate_limit: slow down", ended=0.03),
        Attempt(target, 0.03, outcome="answered", first_byte=0.13, ended=0.5, usage=call.usage),
    ]
    return call


@pytest.fixture
def receiver():
    with Receiver() as listening:
        yield listening


@pytest.fixture
def export(receiver):
    """One whose thread does not run: the test sends."""
    made = Export(Metrics(), receiver.url, every_s=3600)
    yield made
    made._exporter.shutdown()


def test_every_figure_of_prometheus_has_its_name_here() -> None:
    assert set(FIGURES) == {*COUNTERS, *GAUGES, *HISTOGRAMS}


def test_the_same_figures_arrive(receiver, export) -> None:
    for _ in range(2):
        export.metrics.note(ended())
    export.metrics.set("tollgate_overload_running", {(): 3})
    export.send()
    of_model = {"tollgate__workspace": "acme", "tollgate__model": "gpt", "tollgate__provider": "ours"}

    [calls] = receiver.figure("tollgate.calls", **of_model, tollgate__outcome="answered")
    [cost] = receiver.figure("tollgate.cost", **of_model)
    [took] = receiver.figure("tollgate.call.duration", tollgate__route="chat")
    [running] = receiver.figure("tollgate.overload.running")
    assert (calls.as_int, cost.as_double, running.as_int) == (2, 3.0, 3)
    assert calls.start_time_unix_nano == export.began_ns < calls.time_unix_nano
    assert (took.count, took.sum, sum(took.bucket_counts)) == (2, 1.0, 2)
    assert len(took.bucket_counts) == len(took.explicit_bounds) + 1
    assert dict(zip(took.explicit_bounds, took.bucket_counts, strict=False))[0.5] == 2


def test_requests_to_providers_are_told_as_the_conventions_say(receiver, export) -> None:
    export.note(ended())
    export.send()

    [answered] = [
        point
        for point in receiver.figure("gen_ai.client.operation.duration", **OF_OPENAI)
        if "error.type" not in {each.key for each in point.attributes}
    ]
    [failed] = receiver.figure("gen_ai.client.operation.duration", **OF_OPENAI, error__type="rate_limit")
    [first] = receiver.figure("gen_ai.client.operation.time_to_first_chunk", **OF_OPENAI)
    [put_in] = receiver.figure("gen_ai.client.token.usage", **OF_OPENAI, gen_ai__token__type="input")
    [out] = receiver.figure("gen_ai.client.token.usage", **OF_OPENAI, gen_ai__token__type="output")
    assert (answered.count, round(answered.sum, 6)) == (1, 0.47)
    assert (failed.count, round(failed.sum, 6)) == (1, 0.03)
    assert (first.count, round(first.sum, 6)) == (1, 0.1)
    assert (put_in.sum, out.sum) == (10, 5)
    assert list(answered.explicit_bounds[:3]) == [0.01, 0.02, 0.04]
    assert list(put_in.explicit_bounds) == [4**power for power in range(14)]


def test_models_beyond_the_bound_count_together(receiver, export) -> None:
    for number in range(MOST_SERIES + 3):
        export.note(ended(f"model-{number}"))
    export.send()
    [rest] = receiver.figure("gen_ai.client.operation.time_to_first_chunk", gen_ai__request__model="other")
    assert rest.count == 3


def test_a_collector_that_is_away_or_refuses_raises_nothing(monkeypatch) -> None:
    export = Export(Metrics(), "http://127.0.0.1:9", every_s=3600)
    monkeypatch.setattr(export._exporter, "export", lambda data: 1 / 0)
    export.metrics.note(ended())
    export.send()
    export._exporter.shutdown()


def test_without_a_collector_nobody_else_is_told_of_a_call(settings) -> None:
    settings.OTEL_EXPORTER_OTLP_ENDPOINT = ""
    metrics = Metrics()
    assert listeners(Services(metrics=metrics, export=open_export(metrics))) == metrics.note


def until(fits: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if found := fits():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come")


CONFIGURATION = """
version: 1
providers: [{{name: ours, kind: openai_compatible, base_url: "{url}", credentials: []}}]
models: [{{name: good, provider: ours, upstream: gpt-good, price: {{input: "1.00", output: "2.00"}}}}]
routes: [{{name: chat, strategy: priority, targets: [{{model: good}}]}}]
workspaces: [{{name: acme, keys: [{{name: web, secret: {{env: KEY}}}}]}}]
"""


def test_an_installation_sends_what_its_calls_did(receiver) -> None:
    with (
        Upstream() as provider,
        Installation(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_METRIC_EXPORT_INTERVAL="200") as gateway,
    ):
        gateway.apply(CONFIGURATION.format(url=provider.url), KEY=KEY)
        gateway.start()
        assert [gateway.chat("one").status_code, gateway.chat("two").status_code] == [200, 200]
        operation = {"gen_ai__provider__name": "openai_compatible", "server__port": provider.port}
        until(lambda: [p for p in receiver.figure("gen_ai.client.operation.duration", **operation) if p.count == 2])
        # The figures of one sending are read one after the other, so a call may stand in the later ones alone.
        until(lambda: [p for p in receiver.figure("tollgate.calls", tollgate__workspace="acme") if p.as_int == 2])
