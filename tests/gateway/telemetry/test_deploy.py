"""What deploy/ asks Prometheus for is what /metrics tells."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from gateway.telemetry.metrics import COUNTERS, GAUGES, HISTOGRAMS

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
NOW = {*GAUGES, "tollgate_calls_in_flight", "tollgate_workers"}
TOLD = {f"{name}_total" for name in COUNTERS} | {f"{name}_bucket" for name in HISTOGRAMS} | NOW
FIGURES = (*COUNTERS.values(), *HISTOGRAMS.values(), *GAUGES.values())
LABELS = {"le", "job"} | {label for _, labels, *_ in FIGURES for label in labels}


def dashboard_queries() -> list[str]:
    panels = json.loads((DEPLOY / "grafana/tollgate.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def alert_queries() -> list[str]:
    groups = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


@pytest.mark.parametrize("query", [*dashboard_queries(), *alert_queries()])
def test_every_query_names_figures_and_labels_that_are_there(query: str) -> None:
    named = set(re.findall(r"\btollgate_\w+", query))
    grouped = {label.strip() for labels in re.findall(r"by \(([^)]*)\)", query) for label in labels.split(",")}
    matched = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", query))
    assert named - TOLD == set()
    assert (grouped | matched) - LABELS == set()


@pytest.mark.parametrize("query", [*dashboard_queries(), *alert_queries()])
def test_every_query_is_whole(query: str) -> None:
    """Brackets and quotes close; where promtool is there, the next test knows more."""
    plain = re.sub(r'"[^"]*"', "", query)
    assert '"' not in plain
    for opening, closing in ("()", "[]", "{}"):
        assert plain.count(opening) == plain.count(closing)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")
def test_promtool_takes_the_rules() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", DEPLOY / "prometheus/alerts.yaml"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    [group] = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())["groups"]
    names = [rule["alert"] for rule in group["rules"]]
    assert len(set(names)) == len(names)
    for rule in group["rules"]:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def test_no_two_panels_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    panels = json.loads((DEPLOY / "grafana/tollgate.json").read_text())["panels"]
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not taken & cells, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)
