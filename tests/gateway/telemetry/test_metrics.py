"""What Prometheus is told: right sums, bounded labels, all workers together."""

import gc
import os
import time
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from gateway.core.call import Attempt, Call, Caller, Target, Usage
from gateway.edge.chat import Chat
from gateway.telemetry.metrics import MOST_SERIES, Metrics
from gateway.telemetry.pauses import Pauses
from gateway.telemetry.shared import ALIVE_SECONDS, Shared

CALLER = Caller(workspace_id="1", workspace="acme", key_id="k", key="web")
TARGET = Target(model="gpt", provider="openai", kind="openai", base_url="", upstream="gpt")


def ended(route: str = "chat", *, outcome: str = "answered", cost_nanos: int = 1_500_000_000) -> Call:
    call = Call(id="1", form=Chat(), body={}, caller=CALLER, route=route, outcome=outcome, cost_nanos=cost_nanos)
    call.usage = Usage(input=10, cached=4, output=5)
    call.attempts = [Attempt(TARGET, 0.0, outcome="failed"), Attempt(TARGET, 0.1, outcome="answered")]
    call.ttft = 0.02
    return call


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def value(text: bytes, name: str, **labels: str) -> float:
    return samples(text)[(name, tuple(sorted(labels.items())))]


def test_a_call_is_counted_with_its_tokens_cost_and_attempts(tmp_path: Path) -> None:
    metrics = Metrics()
    metrics.note(ended())
    metrics.note(ended())
    text = Shared(metrics, tmp_path, "run").exposition()
    of_model = {"workspace": "acme", "model": "gpt", "provider": "openai"}
    assert value(text, "tollgate_calls_total", **of_model, route="chat", outcome="answered", code="") == 2
    assert value(text, "tollgate_input_tokens_total", **of_model) == 20
    assert value(text, "tollgate_cached_input_tokens_total", **of_model) == 8
    assert value(text, "tollgate_output_tokens_total", **of_model) == 10
    assert value(text, "tollgate_cost_usd_total", **of_model) == 3.0
    assert value(text, "tollgate_attempts_total", provider="openai", model="gpt", outcome="failed") == 2
    assert value(text, "tollgate_first_token_seconds_bucket", route="chat", model="gpt", le="0.025") == 2
    assert value(text, "tollgate_first_token_seconds_bucket", route="chat", model="gpt", le="0.01") == 0
    assert value(text, "tollgate_first_token_seconds_count", route="chat", model="gpt") == 2


def test_names_beyond_the_bound_count_together(tmp_path: Path) -> None:
    metrics = Metrics()
    for number in range(MOST_SERIES + 500):
        metrics.note(ended(f"route-{number}"))
    assert len(metrics.counters["tollgate_calls"]) == MOST_SERIES + 1
    other = dict.fromkeys(("workspace", "route", "model", "provider", "outcome", "code"), "other")
    assert value(Shared(metrics, tmp_path, "run").exposition(), "tollgate_calls_total", **other) == 500


def test_workers_are_added_up_and_older_runs_forgotten(tmp_path: Path) -> None:
    one, two = Metrics(), Metrics()
    one.note(ended())
    two.note(ended())
    (tmp_path / "before.1.json").write_text("{}")
    other = Shared(one, tmp_path, "now")
    other.file = tmp_path / "now.1.json"
    other.write()
    mine = Shared(two, tmp_path, "now")
    mine.start()
    mine.stop()
    text = mine.exposition()
    assert value(text, "tollgate_output_tokens_total", workspace="acme", model="gpt", provider="openai") == 10
    assert value(text, "tollgate_workers") == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([other.file.name, mine.file.name])


def test_what_is_read_and_not_counted_is_brought_up_to_date_and_bounded(tmp_path: Path) -> None:
    metrics = Metrics()
    circuits = {("openai", f"model-{number}", "main", "closed"): 1 for number in range(MOST_SERIES + 3)}
    metrics.look = lambda shown: shown.set("tollgate_circuits", circuits)
    text = Shared(metrics, tmp_path, "run").exposition()
    assert value(text, "tollgate_circuits", provider="openai", model="model-0", credential="main", state="closed") == 1
    assert value(text, "tollgate_circuits", provider="other", model="other", credential="other", state="other") == 3


def test_collections_are_timed_between_start_and_stop() -> None:
    pauses = Pauses()
    pauses.start()
    gc.collect()
    pauses.stop()
    taken = pauses.seconds
    assert taken > 0
    gc.collect()
    assert pauses.seconds == taken


def test_dead_workers_counts_stand_and_what_they_saw_does_not(tmp_path: Path) -> None:
    dead = Metrics()
    dead.counters["tollgate_overload_refused"][()] = 7
    dead.set("tollgate_overload_running", {(): 5})
    other = Shared(dead, tmp_path, "run")
    other.file = tmp_path / "run.0.json"
    other.write()
    old = time.time() - ALIVE_SECONDS - 1
    os.utime(other.file, (old, old))
    alive = Metrics()
    alive.set("tollgate_overload_running", {(): 2})
    text = Shared(alive, tmp_path, "run").exposition()
    assert value(text, "tollgate_overload_refused_total") == 7
    assert value(text, "tollgate_overload_running") == 2
