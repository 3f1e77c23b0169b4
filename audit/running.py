"""What a serving process keeps open for its records: the journal, the recorder and the writer."""

import time
from dataclasses import dataclass
from pathlib import Path

from django.db import DatabaseError, connection

from audit import append_only
from audit.bodies import BodySealer
from audit.journal import Journal
from audit.origin import Origin
from audit.recorder import Recorder
from audit.services.changes import record_event
from audit.services.sealing import Sealer
from audit.writer import Writer
from gateway.core.crypto import Keyring

REFUSALS_SECONDS = 60.0
GUARDS_SECONDS = 5.0


class Refusals:
    """Once a minute, one event for the refused calls that were only counted: see Recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._told = time.monotonic()

    def __call__(self) -> None:
        if self.recorder.denied and time.monotonic() - self._told >= REFUSALS_SECONDS:
            self.tell()

    def tell(self) -> None:
        """Write down what was counted so far. What can't be written is told the next time."""
        self._told = time.monotonic()
        counted = dict(self.recorder.denied)
        calls = [{"code": code, "from": peer, "calls": number} for (code, peer), number in counted.items()]
        record_event(kind="call.denied", origin=Origin("", "the gateway", ""), data={"calls": calls})
        for key, number in counted.items():
            if self.recorder.denied[key] == number:
                del self.recorder.denied[key]
            else:
                self.recorder.denied[key] -= number


class Guards:
    """Every few seconds, looks whether what protects the records is still in place."""

    def __init__(self) -> None:
        self.missing: list[str] = []
        self._due = 0.0

    def __call__(self) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + GUARDS_SECONDS
            self.missing = append_only.missing(connection)


@dataclass(frozen=True, slots=True)
class Recording:
    """Hand `recorder` to the compiler; call `stop` once the last call has ended."""

    recorder: Recorder
    writer: Writer
    guards: "Guards"

    def stop(self) -> None:
        self.writer.stop()

    @property
    def is_healthy(self) -> bool:
        """Whether a new record would find room. The database being down does not matter here."""
        return self.recorder.journal.is_healthy

    def troubles(self) -> tuple[bool, dict[str, str]]:
        """Whether records are safe, so that calls may be taken; and what is wrong, also where calls do not feel it."""
        found: dict[str, str] = {}
        if not self.is_healthy:
            found["journal"] = "the disk of the audit journal is full; records go to the reserve"
        if self.guards.missing:
            found["audit"] = "; ".join(self.guards.missing)
        is_safe = not found
        status = self.writer.status
        if status.failing_since is not None:
            found["records"] = f"they wait in the journal since {time.ctime(status.failing_since)}: {status.error}"
        if status.dead_letters:
            found["dead_letters"] = (
                f"{status.dead_letters} records could not be written: see {self.writer.dead_letters}"
            )
        return is_safe, found


def start_recording(folder: Path, keyring: Keyring) -> Recording:
    """Open this worker's journal, bring in what dead workers left, and start writing. After the last fork.

    `folder` holds the journals of every worker that shares the disk; the copies of the seals go beside it. When the
    database does not answer, recovery goes on in the background as soon as it does. Raises OSError when the journal
    can't be made.
    """
    journal = Journal(folder).open()
    recorder = Recorder(journal, BodySealer(lambda secret, place: keyring.seal(secret, place)))
    writer = Writer(journal)
    guards = Guards()
    writer.each_second += [guards, Sealer(keyring, folder.parent / "seals"), Refusals(recorder)]
    writer.on_stall = lambda is_stalled: setattr(recorder, "is_stalled", is_stalled)
    try:
        writer.recover()
    except DatabaseError:
        writer.attempt()  # notes the failure; the thread goes on trying
    writer.start()
    return Recording(recorder, writer, guards)
