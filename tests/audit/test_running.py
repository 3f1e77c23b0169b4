"""What a serving process keeps open for its records, and what a killed one leaves."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from django.db import connection

from audit import append_only
from audit.running import start_recording
from tests.audit.sample import KEYRING
from tests.audit.test_writer import carried, ids, run, stored


@pytest.mark.django_db(transaction=True)
def test_a_serving_process_records_by_itself_until_it_is_stopped(tmp_path):
    running = start_recording(tmp_path, KEYRING)
    calls = run(carried(running.recorder, number=3))
    running.stop()

    assert stored() == ids(*calls)
    assert list(tmp_path.iterdir()) == []
    assert not running.is_healthy


@pytest.mark.django_db(transaction=True)
def test_readiness_names_a_trigger_that_is_gone(tmp_path):
    running = start_recording(tmp_path / "journal", KEYRING)
    table = "audit_auditevent"
    name = f"{table}_no_update" if connection.vendor == "sqlite" else f"{table}_append_only"
    append_only.unguard(connection)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TRIGGER {name}" + ("" if connection.vendor == "sqlite" else f" ON {table}"))
    running.guards._due = 0.0
    running.guards()

    assert running.troubles() == (False, {"audit": f"trigger {name} is missing"})

    append_only.install(connection)
    running.guards._due = 0.0
    running.guards()
    assert running.troubles() == (True, {})
    running.stop()


KILLED = """
import os, sys, time
from pathlib import Path
import django
django.setup()
from django.conf import settings
from audit.running import start_recording
from audit.stage import intend
from tests.audit.sample import KEYRING, call, carry, snapshot
running = start_recording(Path(sys.argv[1]), KEYRING)
while True:
    made = call()
    intend(made, snapshot(running.recorder))
    print("sent", made.id, flush=True)
    try:
        carry(made, snapshot(running.recorder)).send(None)
    except StopIteration:
        print("answered", made.id, flush=True)
    time.sleep(0.001)
"""


def test_a_worker_killed_at_random_leaves_one_final_record_for_each_answer(tmp_path):
    """The worker and its heir are processes of their own, on a database of their own."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    environment = os.environ | {
        "DATA_DIR": str(tmp_path / "data"),
        "DATABASE_URL": f"sqlite:///{tmp_path / 'killed.sqlite3'}",
        "DJANGO_SETTINGS_MODULE": "gateway.settings",
        "PYTHONPATH": os.getcwd(),
        "LOG_LEVEL": "ERROR",
    }
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], env=environment, check=True, capture_output=True)
    sent, answered = set(), set()
    for _ in range(2):
        worker = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path / "journal")], env=environment, stdout=subprocess.PIPE
        )
        worker.stdout.readline()
        time.sleep(chance.random() * 0.4)
        worker.send_signal(signal.SIGKILL)
        for line in worker.communicate()[0].decode().splitlines(keepends=True):
            if line.endswith("\n"):
                what, call_id = line.split()
                (sent if what == "sent" else answered).add(call_id)
    heir = (
        "import sys, django; django.setup(); from pathlib import Path\n"
        "from audit.running import start_recording; from tests.audit.sample import KEYRING\n"
        "start_recording(Path(sys.argv[1]), KEYRING).stop()\n"
        "from audit.models import CallRecord\n"
        "for pair in CallRecord.objects.values_list('pk', 'outcome'): print(*pair)"
    )
    told = subprocess.run(
        [sys.executable, "-c", heir, str(tmp_path / "journal")], env=environment, check=True, capture_output=True
    )
    rows = [line.split() for line in told.stdout.decode().splitlines()]
    ended = dict(rows)

    assert len(rows) == len(ended), f"seed {seed}"
    assert {call_id for call_id in answered if ended.get(call_id) != "answered"} == set(), f"seed {seed}"
    assert sent - set(ended) == set(), f"seed {seed}"
    assert sum(outcome == "in_doubt" for outcome in ended.values()) <= 2, f"seed {seed}"
    assert list((tmp_path / "journal").iterdir()) == [], f"seed {seed}"
