"""When scheduled work is due: what an admin changes is seen, and nobody asks all the time."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from gateway.beat import LOOK_SECONDS, Schedule
from gateway.celery import app

pytestmark = pytest.mark.django_db


@pytest.fixture
def schedule(monkeypatch):
    # The library closes old connections before it looks, also the test's own.
    monkeypatch.setattr("django_celery_beat.schedulers.close_old_connections", lambda: None)
    monkeypatch.setattr("django_celery_beat.schedulers.transaction.commit", lambda: None)
    return Schedule(app=app, lazy=True)


def test_the_installation_uses_this_schedule():
    assert app.conf.beat_scheduler == "gateway.beat:Schedule"


def test_a_changed_schedule_is_seen_after_some_seconds_and_not_asked_for_before(schedule):
    every = IntervalSchedule.objects.create(every=7, period="seconds")
    task = PeriodicTask.objects.create(name="a task", task="audit.roll_up", interval=every)
    assert schedule.schedule_changed() in (True, False)  # the first look
    task.description = "changed"
    task.save()
    with CaptureQueriesContext(connection) as queries:
        assert not schedule.schedule_changed()
    assert len(queries) == 0
    schedule._look_at -= LOOK_SECONDS
    assert schedule.schedule_changed()
