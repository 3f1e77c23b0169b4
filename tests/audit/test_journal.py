import errno
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from audit import journal as journals
from audit.journal import DAMAGED, FINAL, INTENT, Journal, JournalFull, claim_dead, frames


@pytest.fixture
def journal(tmp_path):
    made = Journal(tmp_path, reserve_bytes=4096).open()
    yield made
    made.close(remove=True)


def payloads(segment):
    return [frame.payload for frame in frames(segment.read(0, segment.size))]


def test_what_was_appended_is_read_back_in_order(journal):
    journal.append(INTENT, b"one")
    journal.append(FINAL, b"\x00\xff two")

    found = list(frames(journal.current.read(0, 1000)))

    assert [(frame.kind, frame.payload) for frame in found] == [(b"I", b"one"), (b"F", b"\x00\xff two")]
    assert found[-1].end == journal.current.size


def test_a_torn_tail_hides_nothing_that_stands_before_it(journal):
    for number in range(3):
        journal.append(FINAL, b"record %d" % number)
    whole = journal.current.read(0, 1000)

    for cut in range(1, 17):
        assert [frame.payload for frame in frames(whole[:-cut])] == [b"record 0", b"record 1"]


def test_a_damaged_record_is_named_and_the_next_one_still_read(journal):
    journal.append(FINAL, b"good")
    journal.append(FINAL, b"bad!")
    journal.append(FINAL, b"good again")
    data = bytearray(journal.current.read(0, 1000))
    data[data.index(b"bad!")] ^= 1

    assert [frame.kind for frame in frames(bytes(data))] == [FINAL, DAMAGED, FINAL]


def test_a_full_segment_is_followed_by_another_and_goes_when_released(tmp_path):
    journal = Journal(tmp_path, segment_bytes=100, reserve_bytes=4096).open()
    for number in range(20):
        journal.append(FINAL, b"%020d" % number)

    first = journal.closed[0]
    journal.release(first)

    assert not first.path.exists()
    rest = [payload for segment in [*journal.closed, journal.current] for payload in payloads(segment)]
    assert rest == [b"%020d" % number for number in range(4, 20)]
    journal.close(remove=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wait", ["sync", "tend"])
def test_whoever_fills_a_segment_waits_for_no_disk_and_what_stands_in_it_is_not_forgotten(tmp_path, monkeypatch, wait):
    journal = Journal(tmp_path, segment_bytes=100, reserve_bytes=4096).open()
    waited = []
    monkeypatch.setattr(os, "fdatasync", waited.append)
    for number in range(10):
        journal.append(FINAL, b"%020d" % number)
    assert waited == []
    first, second = journal.closed
    released = first.fd
    journal.release(first)

    getattr(journal, wait)()

    assert waited[0] == second.fd != released
    assert waited[1:] == [journal.current.fd] * (wait == "sync")
    journal.tend()
    assert len(waited) == 1 + (wait == "sync"), "once is enough"
    journal.close(remove=True)


def test_the_journal_of_a_living_worker_is_nobodys_to_take(journal, tmp_path):
    journal.append(FINAL, b"mine")

    assert claim_dead(tmp_path, "another-worker") == []


def test_the_journal_of_a_closed_worker_can_be_taken_once(tmp_path):
    gone = Journal(tmp_path, reserve_bytes=4096).open()
    gone.append(FINAL, b"left behind")
    gone.close(remove=False)

    [segment] = claim_dead(tmp_path, "heir")

    assert payloads(segment) == [b"left behind"]
    assert claim_dead(tmp_path, "another heir") == []
    segment.remove()


def test_a_forked_child_can_neither_write_nor_keep_the_lock(journal, tmp_path):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            journal.append(FINAL, b"from the child")
        except JournalFull:
            os.write(writer, b"refused")
        time.sleep(0.3)
        os._exit(0)
    assert os.read(reader, 10) == b"refused"
    journal.close(remove=False)  # the parent is gone, the child lives

    [segment] = claim_dead(tmp_path, "heir")

    os.waitpid(child, 0)
    segment.remove()


class FullDisk:
    """Stands in for os.write on a disk with no room left, except in what was allocated beforehand."""

    def __init__(self, monkeypatch, journal, room=0):
        self.journal, self.room, self.write = journal, room, os.write
        monkeypatch.setattr(journals.os, "write", self)
        monkeypatch.setattr(journals.os, "posix_fallocate", self.no_room)
        monkeypatch.setattr(Journal, "_make_segment", self.no_room)

    def no_room(self, *args):
        raise OSError(errno.ENOSPC, "No space left on device")

    def __call__(self, fd, data):
        if self.journal.on_reserve:
            return self.write(fd, data)
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written, self.room = self.write(fd, data[: self.room]), 0
        return written


def test_on_a_full_disk_records_go_on_in_the_reserve_and_then_are_refused(journal, monkeypatch):
    journal.append(FINAL, b"before")
    FullDisk(monkeypatch, journal, room=5)

    taken = 4096 // 101
    for number in range(taken):
        journal.append(FINAL, b"%092d" % number)
    with pytest.raises(JournalFull):
        journal.append(FINAL, b"%092d" % taken)

    assert not journal.is_healthy
    found = [payload for segment in [*journal.closed, journal.current] for payload in payloads(segment)]
    assert found == [b"before", *(b"%092d" % number for number in range(taken))]


def test_on_a_full_disk_a_strict_intent_is_refused_while_there_is_still_a_reserve(journal, monkeypatch):
    FullDisk(monkeypatch, journal)

    with pytest.raises(JournalFull):
        journal.append(INTENT, b"strict", may_use_reserve=False)
    journal.append(FINAL, b"a final record")
    with pytest.raises(JournalFull):
        journal.append(INTENT, b"strict", may_use_reserve=False)

    assert payloads(journal.current) == [b"a final record"]


def test_when_there_is_room_again_the_journal_leaves_its_reserve(journal, monkeypatch):
    with monkeypatch.context() as full:
        FullDisk(full, journal)
        journal.append(FINAL, b"in the reserve")
    assert not journal.is_healthy

    journal.tend()
    journal.append(INTENT, b"strict again", may_use_reserve=False)

    assert journal.is_healthy
    assert [payloads(segment) for segment in [*journal.closed, journal.current]] == [
        [],
        [b"in the reserve"],
        [b"strict again"],
    ]


SCRIPT = """
import sys
from pathlib import Path
from audit.journal import FINAL, Journal
journal = Journal(Path(sys.argv[1]), reserve_bytes=4096).open()
number = 0
while True:
    journal.append(FINAL, (b"%08d " % number) + b"x" * (number % 3000))
    print(number, flush=True)
    number += 1
"""


def test_whatever_a_killed_worker_had_appended_is_there(tmp_path):
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    for _ in range(8):
        worker = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], stdout=subprocess.PIPE)
        time.sleep(0.1 + chance.random() * 0.1)
        worker.send_signal(signal.SIGKILL)
        said, _ = worker.communicate()
        claimed = [int(line) for line in said.decode().splitlines(keepends=True) if line.endswith("\n")]

        segments = claim_dead(tmp_path, "heir")
        found = [int(payload[:8]) for segment in segments for payload in payloads(segment)]
        for segment in segments:
            segment.remove()

        assert found[: len(claimed)] == claimed, f"seed {seed}"
        assert found == list(range(len(found))), f"seed {seed}"
