"""What a serving process keeps open for its budgets: the ledger's opening sums, and a watch over it.

The watch tells once a second what this process holds, so that pages and `manage.py budgets` can show it, and compares
the counters with the sum of the ledger's lines. Counters may be ahead of the lines by what the journal has not brought
into the database yet, never behind: what is behind was booked by somebody else, and is taken over.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Protocol

from django.db import DatabaseError, close_old_connections, connection, transaction
from django.utils import timezone

from budgets.models import Exposure
from budgets.periods import forgotten_at, subject_of
from budgets.queries import (
    Subjects,
    booked_since,
    finished_repricings,
    newest_line,
    newest_repricing,
    opening_sums,
    repriced_by_bucket,
)
from gateway.core.counters import Ledger

log = logging.getLogger(__name__)

TELL_SECONDS = 1.0
COMPARE_EVERY = 5  # tellings
LOOK_ANYWAY_SECONDS = 60.0  # a comparison is spared for so long at most
DRIFT_SECONDS = 30.0  # the journal needs no longer than this to bring its lines into the database


class ServingLedger(Ledger, Protocol):
    """A ledger with the parts that are not on the path of a call."""

    opened: set[tuple[str, str, str]]

    def load(self, sums: Mapping[str, tuple[int, int]]) -> None:
        """Put in what was spent, and how much of it in doubt, where the ledger knows less."""
        ...

    def lower(self, number: int, changes: Mapping[str, tuple[int, int]]) -> None:
        """Bring down what was spent by (amount, but not below), as the repricing of this number has it."""
        ...

    def sums(self) -> dict[str, tuple[int, int, int]]:
        """(spent, held, in doubt) of every bucket that this process knows."""
        ...

    def forget(self, names: Iterable[str]) -> None:
        """Drop buckets of periods that are long over, unless something is still held of them."""
        ...


def open_missing(ledger: ServingLedger) -> None:
    """Fill the ledger for every kind of subject and period that a budget counts in and that it does not know yet.

    Called before a configuration comes into force, so that no call meets a budget that begins at nothing.
    """
    ledger.load(opening_sums(time.time(), opened=ledger.opened))


class Watch(threading.Thread):
    """Tells what is held and compares the counters with the ledger's lines, until stopped."""

    def __init__(self, ledger: ServingLedger, worker: str = "") -> None:
        super().__init__(name="budgets-watch", daemon=True)
        self.ledger = ledger
        self.worker = worker or f"{socket.gethostname()}.{os.getpid()}"
        self.drift: dict[str, int] = {}  # buckets whose counter has been ahead of their lines for too long
        self._told: dict[str, int] = {}
        self._ahead_since: dict[str, tuple[int, float]] = {}
        self._repriced = 0  # the newest repricing that the counters know
        self._compared: tuple[int, dict[str, tuple[int, int, int]]] | None = None  # the newest line, and the counters
        self._looked_from = 0  # the newest line of the comparison before: what began earlier may have ended since
        self._all_compared_at = 0.0
        self._stopping = threading.Event()

    def run(self) -> None:
        turn = 0
        self._begin()
        while not self._stopping.wait(TELL_SECONDS):
            turn += 1
            try:
                self.tell()
                self.correct()
                if turn % COMPARE_EVERY == 0:
                    self.compare()
            except DatabaseError:
                log.warning("can't reach the database to tell what is held; calls go on")
                close_old_connections()
        connection.close()

    def _begin(self) -> None:
        """What was priced anew before is in the sums with which the counters began."""
        try:
            self._repriced = newest_repricing()
        except DatabaseError:
            log.warning("can't reach the database to see what was priced anew")
            close_old_connections()

    def correct(self) -> None:
        """Bring counters down by what was priced anew since; up, they follow the lines by `compare`."""
        if newest_repricing() <= self._repriced:
            return
        for row in finished_repricings(after=self._repriced).select_related("workspace"):
            now = time.time()
            booked = opening_sums(now)
            lowered = {name: -nanos for name, nanos in repriced_by_bucket(row, now).items() if nanos < 0}
            self.ledger.lower(row.pk, {name: (by, booked.get(name, (0, 0))[0]) for name, by in lowered.items()})
            self.ledger.load(booked)
            self._repriced = row.pk

    def stop(self) -> None:
        """Stop, and take back what was told: a process that is gone holds nothing."""
        self._stopping.set()
        self.join(timeout=5)
        try:
            Exposure.objects.filter(worker=self.worker).delete()
        except DatabaseError:
            log.warning("can't reach the database; what this process held is void after the lease")

    def tell(self) -> None:
        """Bring this worker's rows up to date with what it holds."""
        held = {name: amount for name, (_, amount, _) in self.ledger.sums().items() if amount}
        if not held and not self._told:
            return
        now = timezone.now()
        rows = [Exposure(worker=self.worker, bucket=name, held=amount, at=now) for name, amount in held.items()]
        with transaction.atomic():
            gone = [name for name in self._told if name not in held]
            if gone:
                Exposure.objects.filter(worker=self.worker, bucket__in=gone).delete()
            Exposure.objects.bulk_create(
                rows, update_conflicts=True, unique_fields=["worker", "bucket"], update_fields=["held", "at"]
            )
        self._told = held

    def troubles(self) -> tuple[bool, dict[str, str]]:
        """Calls may be taken whatever this finds; and what is wrong."""
        if not self.drift:
            return True, {}
        names = ", ".join(f"{name} by {gap}" for name, gap in sorted(self.drift.items())[:3])
        return True, {
            "budget_drift": f"counters are ahead of their ledger lines: {names}. Calls are counted, but their lines do "
            "not come: look at the journal (`manage.py doctor`); a restart makes the counters again from the lines"
        }

    def compare(self) -> None:
        """Take over what others booked, and note counters that stay ahead of the lines."""
        counted, newest, now = self.ledger.sums(), newest_line(), time.monotonic()
        if (
            self._compared == (newest, counted)
            and not self._ahead_since
            and now < self._all_compared_at + LOOK_ANYWAY_SECONDS
        ):
            return  # as it was when it was well
        if self._compared is None or now >= self._all_compared_at + LOOK_ANYWAY_SECONDS:
            booked, self._all_compared_at = opening_sums(time.time()), now
            self.ledger.forget([name for name in counted if 0 < forgotten_at(name) < time.time()])
        else:
            booked = opening_sums(time.time(), only=self._changed(counted, self._compared[1]))
        self.ledger.load(booked)
        self._looked_from = self._compared[0] if self._compared is not None else newest
        self._compared = (newest, counted)
        ahead: dict[str, tuple[int, float]] = {}
        for name, (spent, held, _) in counted.items():
            difference = spent - booked.get(name, (0, 0))[0]
            if difference > 0 and held == 0 and name in booked:
                before, since = self._ahead_since.get(name, (difference, now))
                ahead[name] = (difference, since if before == difference else now)
        self._ahead_since = ahead
        self.drift = {name: gap for name, (gap, since) in ahead.items() if now - since > DRIFT_SECONDS}
        for name, gap in self.drift.items():
            log.error("budget drift: the counter of %s is %s ahead of its ledger lines", name, gap)

    def _changed(
        self, counted: Mapping[str, tuple[int, int, int]], before: Mapping[str, tuple[int, int, int]]
    ) -> Subjects:
        """Who spent since the last comparison, by the lines or by our counters, and whose counter was ahead then."""
        found = booked_since(self._looked_from)
        for name, sums in counted.items():
            if sums != before.get(name) or name in self._ahead_since:
                workspace_id, of, subject = subject_of(name)
                found.setdefault((workspace_id, of), set()).add(subject)
        return found
