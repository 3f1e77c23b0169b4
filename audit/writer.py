"""One thread that brings the journal into the database, in batches, and after a crash what others left behind.

Everything that belongs to a batch (records, bodies, leaves for the seals, the budgets' ledger lines through `sinks`,
and how far the journal has been read) is one transaction. So a batch is in the database once or not at all, and a
segment that is read again from its position adds nothing twice.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

from audit import batch
from audit.journal import FINAL, INTENT, MIB, Frame, Journal, Segment, claim_dead, frames
from audit.record import Record, decode, decode_id

log = logging.getLogger(__name__)

BATCH_RECORDS = 1000
BATCH_SECONDS = 0.25  # a batch has costs of its own, e.g. a look at every budget it touched
TEND_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 5.0

Sink = Callable[[Sequence[Record]], None]
sinks: list[Sink] = []  # called with each batch, inside its transaction
told: list[Sink] = []  # called with each batch once it is in the database; must not wait, and may fail


@dataclass(slots=True)
class WriterStatus:
    """How the writing goes, for /readyz, doctor and the metrics."""

    written: int = 0
    dead_letters: int = 0
    failing_since: float | None = None  # time.time() of the first failure in a row
    error: str = ""


class Writer(threading.Thread):
    """Drains one worker's journal. `recover` first, then `start`; `stop` leaves nothing behind if the database answers."""

    def __init__(self, journal: Journal, *, dead_letters: Path | None = None) -> None:
        super().__init__(name="audit-writer", daemon=True)
        self.journal = journal
        self.dead_letters = dead_letters or journal.folder / "dead-letters.jsonl"
        self.status = WriterStatus()
        self.on_stall: Callable[[bool], None] = lambda is_stalled: None
        self.dead: list[str] = []  # workers that were proved to be gone, and whose journals are in the database
        self.each_second: list[Callable[[], None]] = []  # the sealer, and the counted refusals
        self._positions: dict[str, int] = {}  # how far each of our segments is read
        self._behind: set[str] = set()  # of which what was taken from memory is not written: the file is read
        self._inherited: list[Segment] = []
        self._stopping = threading.Event()
        self._give_up_at = 0.0
        self._tended = 0.0

    # --- the thread -----------------------------------------------------------------------------------

    def run(self) -> None:
        pause = 0.0
        while not self._stopping.is_set():
            self.journal.wake.wait(TEND_SECONDS)
            self.journal.wake.clear()
            self._stopping.wait(max(BATCH_SECONDS, pause))
            pause = 0.0 if self.attempt() else min(max(pause * 2, 0.1), LONGEST_PAUSE_SECONDS)
            if pause:
                self.journal.wake.set()
        self._finish()
        connection.close()

    def attempt(self) -> bool:
        """Drain what there is and do what is due once a second. False when the database does not take it now."""
        try:
            self.drain()
            if time.monotonic() - self._tended >= TEND_SECONDS:
                self._tended = time.monotonic()
                self.journal.tend()
                self.recover()
                for task in self.each_second:
                    task()
        except (OperationalError, InterfaceError) as error:
            self._note_failure(error)
            return False
        except Exception as error:
            log.exception("the audit writer met an error; it goes on")
            self._note_failure(error)
            return False
        if self.status.failing_since is not None:
            log.warning("the audit writer reaches the database again")
            self.status.failing_since, self.status.error = None, ""
            self.on_stall(False)
        return True

    def stop(self, *, timeout_s: float = 10.0) -> None:
        """Bring the rest into the database and remove the journal; leave it for the next start if that fails."""
        self._give_up_at = time.monotonic() + timeout_s
        self._stopping.set()
        self.journal.wake.set()
        if self.ident is None:
            self._finish()
        else:
            self.join(timeout_s + 5.0)

    def _finish(self) -> None:
        while not (done := self.attempt()) and time.monotonic() < self._give_up_at:
            time.sleep(0.2)
        self.journal.close(remove=done and not self.journal.begun)
        for segment in self._inherited:
            segment.close()

    def _note_failure(self, error: Exception) -> None:
        if self.status.failing_since is None:
            self.status.failing_since = time.time()
            self.on_stall(True)
            log.warning("the audit writer can't reach the database; records wait in the journal: %s", error)
        self.status.error = f"{type(error).__name__}: {error}"
        if self.ident is not None:
            connection.close()  # the thread's own; the next attempt connects anew

    # --- this worker's journal -------------------------------------------------------------------------

    @property
    def waiting_bytes(self) -> int:
        """What stands in this worker's journal and is not in the database yet, intents included."""
        current = self.journal.current
        segments = [*self.journal.closed, *([current] if current else [])]
        return sum(each.size - self._positions.get(each.name, 0) for each in segments)

    def drain(self) -> None:
        """Bring everything that is in this worker's journal into the database."""
        current = self.journal.current
        for segment in [*self.journal.closed, *([current] if current else [])]:
            self._read(segment)
        if self.journal.closed:
            needed = set(self.journal.begun.copy().values())
            for segment in [each for each in self.journal.closed if each.name not in needed]:
                if segment.size == self._positions.get(segment.name, 0):
                    self.journal.release(segment)
                    self._positions.pop(segment.name, None)
                    batch.forget_position(segment.name)

    def _read(self, segment: Segment) -> None:
        """Write the segment's records from where we are, batch by batch. Intents matter only to who comes after us.

        From memory, where the journal still has them there; from the file after a failure, so that none is missed.
        """
        name = segment.name
        while self._positions.setdefault(name, 0) < segment.size:
            recent, end = self.journal.take_recent(segment)
            from_file = recent is None or name in self._behind
            self._behind.add(name)
            if from_file and not self._scan(segment, end):
                return
            for start in range(0, 0 if from_file else len(recent or ()), BATCH_RECORDS):
                part = (recent or [])[start : start + BATCH_RECORDS]
                self._advance([record for _, each in part if (record := self._decoded(each))], name, part[-1][0])
            self._positions[name] = end
            self._behind.discard(name)

    def _scan(self, segment: Segment, until: int) -> bool:
        """Write the records that stand in the file between where we are and `until`; whether it could be read so far."""
        while (position := self._positions[segment.name]) < until:
            found, end = _next_frames(segment, position, until=until, passing_over=INTENT)
            if end == position:
                return False
            self._advance([record for frame in found if (record := self._record_of(frame))], segment.name, end)
        return True

    def _advance(self, records: list[Record], segment: str, end: int) -> None:
        """Write these records, new ones, which stand in the segment before `end`."""
        if records:
            self._write(records, segment, end, are_new=True)
        self._positions[segment] = end

    def _record_of(self, frame: Frame) -> Record | None:
        """The final record in this frame, if it holds one. What can't be read is buried."""
        if frame.kind == FINAL:
            return self._decoded(frame.payload)
        if frame.kind != INTENT:
            self._bury(frame.payload, "the bytes in the journal are not those that were written")
        return None

    def _decoded(self, payload: bytes) -> Record | None:
        try:
            return decode(payload)
        except ValueError as unreadable:
            self._bury(payload, str(unreadable))
        return None

    def _write(self, records: list[Record], segment: str, position: int, *, are_new: bool = False) -> None:
        """One transaction; when the database refuses a record for what it is, the others go without it.

        `are_new` says that none of them can be there yet, which spares looking; it is looked when that proves wrong.
        """
        try:
            self._commit(records, segment, position, are_new=are_new)
        except (OperationalError, InterfaceError):
            raise
        except (DatabaseError, ValueError, TypeError, ArithmeticError) as error:
            if len(records) == 1 and are_new:
                self._write(records, segment, position)
                return
            if len(records) == 1:
                self._bury(json.dumps(_printable(records[0])).encode(), str(error), records[0])
                batch.write([], segment, position)
                return
            log.warning("the database refuses a record; each of its batch is written by itself: %s", error)
            for index, record in enumerate(records):
                self._write([record], segment, position if index == len(records) - 1 else -1)

    def _commit(self, records: list[Record], segment: str, position: int, *, are_new: bool) -> None:
        with transaction.atomic():
            batch.write(records, segment, position, are_new=are_new)
            if records:
                for sink in sinks:
                    sink(records)
        self.status.written += len(records)
        for tell in told if records else ():
            try:
                tell(records)
            except Exception:
                log.exception("somebody who is told of records failed; the records are in the database")

    def _bury(self, payload: bytes, error: str, record: Record | None = None) -> None:
        """Put aside what can't be written, where an operator finds it; the rest goes on."""
        self.status.dead_letters += 1
        log.error("a record could not be written and stands in %s: %s", self.dead_letters, error)
        line = {"at": time.time(), "error": error, "payload": payload.decode("latin-1")}
        with self.dead_letters.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        batch.note_unreadable(error, record)

    # --- journals of workers that are gone ----------------------------------------------------------------

    def recover(self) -> int:
        """Replay the journals of dead workers and remove them. Returns how many records were in doubt."""
        self._inherited += claim_dead(self.journal.folder, self.journal.worker)
        doubted = 0
        while self._inherited:
            worker = self._inherited[0].worker
            theirs = [segment for segment in self._inherited if segment.worker == worker]
            doubted += self._replay(theirs)
            for segment in theirs:
                self._inherited.remove(segment)
                segment.remove()
                batch.forget_position(segment.name)
            self.dead.append(worker)
        return doubted

    def _replay(self, segments: list[Segment]) -> int:
        """Write what is missing of a dead worker's records, and a record in doubt for each call that never ended."""
        begun: dict[str, bytes] = {}
        for segment in segments:
            written = batch.position_of(segment.name)
            position = 0
            while True:
                found, end = _next_frames(segment, position)
                if not found:
                    break
                for frame in found:
                    _remember(frame, begun)
                if end > written:
                    fresh = [frame for frame in found if frame.end > written]
                    records = [record for frame in fresh if (record := self._record_of(frame)) is not None]
                    self._write(records, segment.name, end)
                position = end
        doubts = [decode(payload) for payload in begun.values()]
        for start in range(0, len(doubts), BATCH_RECORDS):
            self._write(doubts[start : start + BATCH_RECORDS], segments[0].name, -1)
        if doubts:
            log.warning(
                "%s calls were under way when worker %s died; they are in doubt", len(doubts), segments[0].worker
            )
        return len(doubts)


def _remember(frame: Frame, begun: dict[str, bytes]) -> None:
    """Keep the last intent of each call until its final record is met."""
    if frame.kind in (INTENT, FINAL):
        try:
            call_id = decode_id(frame.payload).call_id
        except ValueError:
            return
        if frame.kind == INTENT:
            begun[call_id] = frame.payload
        else:
            begun.pop(call_id, None)


def _next_frames(
    segment: Segment, position: int, *, until: int | None = None, passing_over: bytes = b""
) -> tuple[list[Frame], int]:
    """Up to a batch of frames from `position`, and where the next one begins: at `position` when none is left."""
    limit = MIB
    most = segment.size - position if until is None else until - position
    while True:
        data = segment.read(position, min(limit, most))
        found, end = [], position
        for frame in frames(data, position, passing_over=passing_over):
            end = frame.end
            if frame.kind != passing_over:
                found.append(frame)
                if len(found) == BATCH_RECORDS:
                    break
        if end > position or len(data) < limit:
            return found, end
        limit *= 4  # one record longer than what was read


def _printable(record: Record) -> dict[str, str]:
    """A refused record for the dead letters: everything but its bodies."""
    return {
        name: repr(getattr(record, name))
        for name in record.__struct_fields__
        if name not in ("bodies", "body_key", "entries")
    }
