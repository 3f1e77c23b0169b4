"""What deploy/ asks Prometheus for is what /metrics tells."""

import json
import re
from pathlib import Path

import pytest
import yaml

from gateway.telemetry.metrics import COUNTERS, HISTOGRAMS

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
GAUGES = {"tollgate_calls_in_flight", "tollgate_workers"}
TOLD = {f"{name}_total" for name in COUNTERS} | {f"{name}_bucket" for name in HISTOGRAMS} | GAUGES
LABELS = {"le"} | {label for _, labels, *_ in (*COUNTERS.values(), *HISTOGRAMS.values()) for label in labels}


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
    assert named - TOLD == set()
    assert grouped - LABELS == set()
