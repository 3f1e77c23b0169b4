"""Delivers alerts as soon as the lines that crossed a threshold are committed, in the process that booked them.

The beat's task does the same every two seconds, for what another process left behind; who delivers what is claimed row
by row (services/alerts.py).
"""

import logging
import threading

from django.db import DatabaseError, close_old_connections, connection

from budgets.services.alerts import deliver_alerts
from budgets.services.news import news

log = logging.getLogger(__name__)


class Courier(threading.Thread):
    """Waits for news, and delivers."""

    def __init__(self) -> None:
        super().__init__(name="budgets-courier", daemon=True)
        self._stopping = False

    def run(self) -> None:
        while True:
            news.wait()
            if self._stopping:
                break
            news.clear()  # before looking: what comes meanwhile is seen by the next turn
            try:
                deliver_alerts()
            except DatabaseError:
                log.warning("can't reach the database to deliver alerts; the next beat tries again")
                close_old_connections()
            except Exception:
                log.exception("delivering alerts failed; the next beat tries again")
        connection.close()

    def stop(self) -> None:
        self._stopping = True
        news.set()
        self.join(timeout=5)
        news.clear()
