"""The journal on a disk that is really full: a small one, mounted for the test where that is allowed."""

import json
import os
import subprocess
from pathlib import Path

import httpx
import pytest

from audit.journal import FINAL, INTENT, MIB, Journal, JournalFull, frames
from tests.audit.test_database_down import eventually
from tests.audit.test_killed_server import CONFIG
from tests.installation import KEY, Installation

JOURNAL_MIB = 40  # room for the reserve, and for the one that follows it


@pytest.fixture
def small_disk():
    """Mounts a disk of so many KiB at a folder."""
    mounted = []

    def mount(folder: Path, kib: int) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kib}k,mode=0700", "tmpfs", str(folder)],
            check=False,
            capture_output=True,
        )
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr.decode().strip()}")
        mounted.append(folder)
        return folder

    if os.geteuid() != 0:
        pytest.skip("only root may mount a disk")
    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """A file that takes all the room that is left."""
    file = folder / "something-else"
    with file.open("wb", buffering=0) as full:
        for size in (65536, 4096, 1):
            try:
                while full.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
    return file


def took(journal: Journal, record: bytes) -> bool:
    try:
        journal.append(FINAL, record)
    except JournalFull:
        return False
    return True


def payloads(journal: Journal) -> list[bytes]:
    segments = [*journal.closed, journal.current]
    return [frame.payload for segment in segments for frame in frames(segment.read(0, segment.size))]


def test_records_go_on_in_the_reserve_then_are_refused_and_then_go_on(tmp_path, small_disk):
    disk = small_disk(tmp_path / "disk", 512)
    journal = Journal(disk, reserve_bytes=64 * 1024).open()
    journal.append(FINAL, b"before")
    rest = fill(disk)
    written = [b"before"]
    while took(journal, record := b"%01000d" % len(written)):
        written.append(record)

    assert len(written) > 60
    assert not journal.is_healthy
    with pytest.raises(JournalFull):
        journal.append(INTENT, b"strict", may_use_reserve=False)
    assert payloads(journal) == written

    rest.unlink()
    journal.tend()
    journal.append(INTENT, b"strict", may_use_reserve=False)

    assert journal.is_healthy
    assert payloads(journal) == [*written, b"strict"]
    journal.close(remove=True)


@pytest.mark.timeout(900)
def test_calls_go_on_while_the_disk_is_full_readiness_says_so_and_no_record_is_lost(upstream, small_disk):
    with Installation(ACME_KEY=KEY, LOG_LEVEL="WARNING") as gateway:
        strict = CONFIG.replace("keys: [{name: web", "on_unavailable: {audit: AUDIT}\n    keys: [{name: web").replace(
            "URL", upstream.url + "/v1"
        )
        gateway.apply(strict.replace("AUDIT", "spool"))
        journal = small_disk(gateway.data_dir / "journal", JOURNAL_MIB * MIB // 1024)
        gateway.start()
        answered = [gateway.chat().headers["x-request-id"]]

        def ready() -> int:
            return httpx.get(f"{gateway.url}/readyz", timeout=30).status_code

        rest = fill(journal)
        for _ in range(20):
            answer = gateway.chat()
            assert answer.status_code == 200
            answered.append(answer.headers["x-request-id"])
        eventually("not ready", lambda: ready() == 503)
        said = httpx.get(f"{gateway.url}/readyz", timeout=30).text
        gateway.apply(strict.replace("AUDIT", "strict"))
        eventually("a strict workspace is refused", lambda: gateway.chat().status_code == 503)
        reached = upstream.meter.requests
        assert gateway.chat().status_code == 503
        assert upstream.meter.requests == reached  # before anything was sent

        rest.unlink()
        eventually("ready again", lambda: ready() == 200)
        eventually("a strict workspace is served again", lambda: gateway.chat().status_code == 200)
        gateway.stop()
        lines = [json.loads(line) for line in gateway.manage("calls", "--jsonl").stdout.splitlines()]
        proof = gateway.manage("audit", "verify")

    assert "the disk of the audit journal is full" in said
    ended = [line["call_id"] for line in lines if line["outcome"] == "answered"]
    assert set(answered) <= set(ended)
    assert len(set(ended)) == len(ended)
    assert proof.stdout.startswith("The audit trail holds")
