"""Looks every few seconds whether the database still protects what must never change: ledger, prompts, approvals, runs.

The audit trail looks after its own tables (audit/running.py).
"""

import logging
import threading

from django.db import DatabaseError, close_old_connections, connection

import budgets.append_only
import evals.append_only
import prompts.append_only

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
WHAT_TO_DO = "run `manage.py migrate`, which puts the triggers back, and find out who took them away"


def missing_triggers() -> list[str]:
    """What protects the ledger, the prompts and the runs, and is not there. Raises DatabaseError."""
    return [
        *budgets.append_only.missing(connection),
        *prompts.append_only.missing(connection),
        *evals.append_only.RULES.missing(connection),
    ]


class TableGuards(threading.Thread):
    """`missing` is what was found the last time."""

    def __init__(self) -> None:
        super().__init__(name="table-guards", daemon=True)
        self.missing: list[str] = []
        self._stopping = threading.Event()

    def run(self) -> None:
        while True:
            try:
                self.missing = missing_triggers()
            except DatabaseError:
                log.warning("can't reach the database to see whether its triggers are there")
                close_old_connections()
            if self._stopping.wait(LOOK_SECONDS):
                break
        connection.close()

    def stop(self) -> None:
        self._stopping.set()
        self.join(timeout=5)

    def troubles(self) -> tuple[bool, dict[str, str]]:
        """Whether calls may be taken, and what is wrong."""
        if not self.missing:
            return True, {}
        return False, {"append_only": f"{'; '.join(self.missing)}: {WHAT_TO_DO}"}
