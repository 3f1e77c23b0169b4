"""What the path of a call reads of this app: shapes only, frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from evals.guardrails.build import Guard


@dataclass(frozen=True, slots=True)
class EvalsSnapshot:
    """The guardrails of each workspace, by its id, in their order."""

    guardrails: Mapping[str, tuple[Guard, ...]] = field(default_factory=dict)
