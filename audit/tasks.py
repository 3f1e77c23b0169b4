"""This app's background work: dropping what is over its time, finishing erasures, summing up calls."""

from celery import shared_task
from django.conf import settings
from django.db import connection

from audit.partitions import make_ahead
from audit.services.erasure import finish_erasures
from audit.services.retention import drop_what_is_over
from audit.services.rollups import roll_up


@shared_task(name="audit.drop_what_is_over", ignore_result=True)  # type: ignore[untyped-decorator]
def drop_records_and_bodies() -> None:
    """Every hour. What is left when it is stopped goes the next time; the coming months get their places."""
    make_ahead(connection)
    drop_what_is_over(keyring=settings.KEYRING)


@shared_task(name="audit.finish_erasures", ignore_result=True)  # type: ignore[untyped-decorator]
def finish_what_was_under_way() -> None:
    """Every five minutes, as long as a journal may hold what a person said."""
    finish_erasures()


@shared_task(name="audit.roll_up", ignore_result=True)  # type: ignore[untyped-decorator]
def sum_up_calls() -> None:
    """Every minute. What is left goes the next time; until then figures are read from the records."""
    roll_up()
