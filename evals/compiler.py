"""Rows → EvalsSnapshot."""

from collections import defaultdict
from types import MappingProxyType

from evals.guardrails.build import Guard, guard
from evals.models import Guardrail
from evals.snapshot import EvalsSnapshot


def snapshot() -> EvalsSnapshot:
    """Every guardrail, ready to run. One query. Raises BadGuardrail when a row can't be run as it stands."""
    guards: dict[str, list[Guard]] = defaultdict(list)
    for row in Guardrail.objects.order_by("workspace_id", "position", "id"):
        threshold = None if row.threshold is None else float(row.threshold)
        guards[str(row.workspace_id)].append(guard(row.kind, row.action, threshold, row.words, row.options))
    return EvalsSnapshot(MappingProxyType({workspace: tuple(found) for workspace, found in guards.items()}))
