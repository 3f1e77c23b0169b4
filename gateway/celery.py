"""Background work: Celery. Embedded, it runs inside the serving process; scaled out, as workers and one beat.

Every durable job is a row; a task only wakes whoever works such rows off. So a task that is lost with its process
costs a moment's delay and nothing else, which is what makes the in-memory broker safe.
"""

import logging
import os
import threading
from typing import Any

from celery import Celery
from celery.beat import Service

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

app = Celery("tollgate")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

log = logging.getLogger(__name__)
CONCURRENCY = 2


class Embedded:
    """A worker and a beat as threads of this process, so that one command is a whole installation.

    They use an in-memory broker of their own, also where Redis is there: what must survive is a row, and several
    processes that each wake the same work find the rows claimed.
    """

    def __init__(self) -> None:
        app.conf.broker_url = "memory://localhost/"
        self._worker: Any = app.WorkController(
            pool="threads",
            concurrency=CONCURRENCY,
            without_mingle=True,
            without_gossip=True,
            without_heartbeat=True,
        )
        self._beat = Service(app, scheduler_cls=app.conf.beat_scheduler)

    def start(self) -> None:
        threading.Thread(target=self._worker.start, name="celery-worker", daemon=True).start()
        threading.Thread(target=self._beat.start, name="celery-beat", daemon=True).start()

    def stop(self) -> None:
        self._beat.stop()
        self._worker.stop()
