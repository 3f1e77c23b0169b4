"""What the recording stage reads: how each workspace wants its calls kept, and where records go."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.core.call import Call

if TYPE_CHECKING:
    from audit.recorder import Recorder


@dataclass(frozen=True, slots=True)
class Keeping:
    """What a workspace keeps of its calls. `None` days: for ever. `is_strict`: on disk before the answer ends."""

    store_bodies: bool = False
    records_days: int | None = 365
    bodies_days: int | None = 30
    is_strict: bool = False
    subject_key: bytes = field(default=b"", repr=False)


DEFAULT_KEEPING = Keeping()


@dataclass(frozen=True, slots=True)
class AuditSnapshot:
    """`recorder` writes to the journal of this worker. Besides, `begin` is told of every call as it begins (traces)
    and `write` when it has ended (metrics, traces)."""

    keeping: Mapping[str, Keeping] = field(default_factory=dict)  # by workspace id
    recorder: "Recorder | None" = None
    begin: Callable[[Call], None] | None = None
    write: Callable[[Call], None] | None = None

    def of(self, call: Call) -> Keeping:
        """How this call is to be kept."""
        return DEFAULT_KEEPING if call.caller is None else self.of_workspace(call.caller.workspace_id)

    def of_workspace(self, workspace_id: str) -> Keeping:
        """How this workspace's calls are to be kept."""
        return self.keeping.get(workspace_id, DEFAULT_KEEPING)
