"""The append-only file between an answer and the database, one per worker.

A record is in the journal before the last byte of its answer is sent, so an answered call is never
without a record: what the process could not bring to the database, the next one reads here.

    <worker>-<n>.log    worker is <host>-<pid>-<epoch>; n counts its segments
    frame               length u32 | crc32 u32 | kind (1 byte) and payload, written by one write(2)

A worker holds a lock on each of its segments. Whoever obtains the lock has proof that the worker is
dead and may replay the file. A segment is made and locked under another name and then renamed, so
that nobody can obtain the lock of a living worker in between.

A file whose end is torn (the process died inside a write) is read up to the tear. A full disk is met
with a reserve that was allocated beforehand; when that is full too, `append` raises JournalFull.
"""

import contextlib
import errno
import fcntl
import os
import socket
import struct
import threading
import time
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MIB = 1024 * 1024
SEGMENT_BYTES = 64 * MIB
RESERVE_BYTES = 16 * MIB
SEGMENTS_MOST = 16  # 1 GiB of records that wait for the database; then no further call is begun
SEGMENT_SECONDS = 300.0  # an older segment is closed, so that erased bodies do not stay in it
RECENT_BYTES = 4 * MIB  # of records that the writer need not read back, while it keeps up
UNBORN_SECONDS = 60.0  # for as long a segment may be between its making and its lock
INTENT = b"I"
FINAL = b"F"
DAMAGED = b"?"
_HEAD = struct.Struct("<II")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}


class JournalFull(Exception):
    """The record could not be written. Nothing of it is in the journal."""


class Frame(NamedTuple):
    """One record as it stands in a segment; `end` is the offset of the next one."""

    kind: bytes
    payload: bytes
    end: int


class Segment:
    """One file of a journal, locked by this process.

    `recent` holds the final records since the writer's last look, each with the offset of its end, so that it need not
    read them back from between the intents. None once they are too many: then the file is read.
    """

    __slots__ = ("fd", "name", "opened", "path", "recent", "room", "size")

    def __init__(self, path: Path, fd: int, size: int) -> None:
        self.path, self.name, self.fd, self.size = path, path.name, fd, size
        self.opened = time.monotonic()
        self.recent: list[tuple[int, bytes]] | None = []
        self.room = RECENT_BYTES

    @property
    def worker(self) -> str:
        return self.path.stem.rpartition("-")[0]

    def read(self, offset: int, limit: int) -> bytes:
        """Up to `limit` bytes from `offset`, never beyond what was written whole."""
        return os.pread(self.fd, min(limit, self.size - offset), offset)

    def remember(self, payload: bytes) -> None:
        """Keep the record that was just written at hand, unless those since the last look take up too much."""
        if self.recent is not None:
            self.room -= len(payload)
            if self.room >= 0:
                self.recent.append((self.size, payload))
            else:
                self.recent = None

    def remove(self) -> None:
        """Delete the file and give up its lock. Only after all its records are in the database."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self.close()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def frames(data: bytes, base: int = 0, *, passing_over: bytes = b"") -> Iterator[Frame]:
    """The whole frames at the start of `data`, whose first byte has offset `base` in its file.

    A frame whose bytes are not those that were written comes as DAMAGED; what stands behind it is read on. Whole
    frames of the kind `passing_over` come without their payload.
    """
    at, limit, passed = 0, len(data), ord(passing_over or b"\0")
    while at + 8 < limit:
        length, crc = _HEAD.unpack_from(data, at)
        end = at + 8 + length
        if length == 0 or end > limit:
            return
        body = data[at + 8 : end]
        if zlib.crc32(body) != crc:
            yield Frame(DAMAGED, body, base + end)
        elif body[0] == passed:
            yield Frame(passing_over, b"", base + end)
        else:
            yield Frame(body[:1], body[1:], base + end)
        at = end


_open_journals: "weakref.WeakSet[Journal]" = weakref.WeakSet()


def _forget_in_child() -> None:
    """A forked child must not write into its parent's journal, nor keep the parent's locks alive."""
    for journal in list(_open_journals):
        journal.abandon()


os.register_at_fork(after_in_child=_forget_in_child)


class Journal:
    """The journal of this worker. Open it after the last fork.

    `wake` is set whenever something was appended; the writer waits for it. `begun` says of each call that is under
    way in which segment its intent stands: that one stays until the call has ended.
    """

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES, reserve_bytes: int = RESERVE_BYTES) -> None:
        self.folder = folder
        self.segment_bytes, self.reserve_bytes = segment_bytes, reserve_bytes
        host = "".join(c if c.isalnum() else "." for c in socket.gethostname())[:60] or "host"
        self.worker = f"{host}-{os.getpid()}-{time.time_ns() // 1000}"
        self.wake = threading.Event()
        self.begun: dict[str, str] = {}  # call id -> name of the segment
        self.closed: list[Segment] = []  # full segments, oldest first, not yet removed by the writer
        self.current: Segment | None = None
        self.on_reserve = False
        self.refused = 0  # appends that found no room
        self._reserve = -1
        self._count = 0
        self._unsynced: list[Segment] = []  # full segments of which the disk may not have everything
        self._lock = threading.Lock()
        self._syncing = threading.Lock()  # taken before the other: a segment is not closed while the disk is waited for
        self._pid = os.getpid()

    # --- open and close -------------------------------------------------------------------------

    def open(self) -> "Journal":
        """Make the folder, the reserve and the first segment. Raises OSError when that is impossible."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._allocate_reserve()
        self.current = self._make_segment()
        _open_journals.add(self)
        return self

    def close(self, *, remove: bool) -> None:
        """Give up the locks. With `remove`, delete the segments too: all their records are in the database."""
        with self._syncing, self._lock:
            segments = [*self.closed, *([self.current] if self.current else [])]
            for segment in segments:
                if remove:
                    segment.remove()
                else:
                    segment.close()
            self.closed, self._unsynced, self.current = [], [], None
            self._drop_reserve()
        _open_journals.discard(self)

    def abandon(self) -> None:
        """In a forked child: close what was inherited, so that using this journal fails loudly."""
        self._lock, self._syncing = threading.Lock(), threading.Lock()
        for segment in [*self.closed, *([self.current] if self.current else [])]:
            segment.close()
        if self._reserve >= 0:
            os.close(self._reserve)
        self.closed, self._unsynced, self.current, self._reserve = [], [], None, -1

    @property
    def is_healthy(self) -> bool:
        """Whether there is room beyond the reserve."""
        return self.current is not None and not self.on_reserve

    # --- the hot path -----------------------------------------------------------------------------

    def append(self, kind: bytes, payload: bytes, *, may_use_reserve: bool = True) -> None:
        """Write one record. Returns once the system has it; see `sync` for the disk. Raises JournalFull."""
        body = kind + payload
        frame = _HEAD.pack(len(body), zlib.crc32(body)) + body
        with self._lock:
            segment = self.current
            if segment is None:
                raise JournalFull("the journal is not open in this process")
            if kind == INTENT and len(self.closed) >= SEGMENTS_MOST:
                self.refused += 1
                raise JournalFull("the journal holds all that it may: the database has been away for too long")
            if segment.size >= self.segment_bytes and not self.on_reserve:
                segment = self._rotate(segment)
            if self.on_reserve and not may_use_reserve:
                self.refused += 1
                raise JournalFull("the disk of the journal is full")
            if not self._write(segment, frame):
                segment = self._turn_to_reserve(segment, may_use_reserve)
                if segment is None or not self._write(segment, frame):
                    self.refused += 1
                    raise JournalFull("the disk of the journal is full")
            if kind == FINAL:
                segment.remember(payload)
        if not self.wake.is_set():
            self.wake.set()

    def sync(self) -> None:
        """Wait until the disk has everything appended so far. Raises JournalFull when the disk refuses."""
        with self._syncing:
            segment = self.current
            if segment is None:
                raise JournalFull("the journal is not open in this process")
            try:
                self._sync_closed()
                os.fdatasync(segment.fd)
            except OSError as error:
                raise JournalFull(f"the disk of the journal fails: {error.strerror}") from None

    def _sync_closed(self) -> None:
        """Wait until the disk has the full segments. Whoever fills one, a call, must not wait for that."""
        for segment in self._unsynced.copy():
            os.fdatasync(segment.fd)
            self._unsynced.remove(segment)

    def _write(self, segment: Segment, frame: bytes) -> bool:
        """Whether the whole frame was written. Half a frame is taken back."""
        if self.on_reserve and segment.size + len(frame) > self.reserve_bytes:
            return False
        try:
            written = os.write(segment.fd, frame)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            written = 0
        if written == len(frame):
            segment.size += written
            return True
        if written and not self.on_reserve:
            os.ftruncate(segment.fd, segment.size)
        elif written:
            os.lseek(segment.fd, segment.size, os.SEEK_SET)
        return False

    # --- segments -----------------------------------------------------------------------------------

    def _path(self) -> Path:
        self._count += 1
        return self.folder / f"{self.worker}-{self._count:06d}.log"

    def _make_segment(self) -> Segment:
        path = self._path()
        making = path.with_suffix(".new")
        fd = os.open(making, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        making.rename(path)
        return Segment(path, fd, 0)

    def _rotate(self, segment: Segment) -> Segment:
        """Close a segment for writing and start the next; keep the old one where no new one can be made."""
        try:
            fresh = self._make_segment()
        except OSError:
            return segment
        self._retire(segment)
        self.current = fresh
        return fresh

    def _retire(self, segment: Segment) -> None:
        """Nothing more is written to it."""
        self.closed.append(segment)
        self._unsynced.append(segment)

    def _allocate_reserve(self) -> None:
        path = self.folder / f"{self.worker}.reserve"
        making = self.folder / f"{self.worker}.reserve.new"
        fd = os.open(making, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(fd, 0, self.reserve_bytes)
            making.rename(path)
        except OSError:
            os.close(fd)
            making.unlink(missing_ok=True)
            raise
        self._reserve = fd

    def _drop_reserve(self) -> None:
        if self._reserve >= 0:
            os.close(self._reserve)
            self._reserve = -1
            (self.folder / f"{self.worker}.reserve").unlink(missing_ok=True)

    def _turn_to_reserve(self, segment: Segment, allowed: bool) -> Segment | None:
        """Go on in the room that was allocated beforehand. None when there is none left, or it is not for this."""
        if self.on_reserve or not allowed or self._reserve < 0:
            return None
        path = self._path()
        (self.folder / f"{self.worker}.reserve").rename(path)
        fd, self._reserve = self._reserve, -1
        self._retire(segment)
        self.current, self.on_reserve = Segment(path, fd, 0), True
        return self.current

    def tend(self) -> None:
        """Called by the writer about once a second: leave the reserve when there is room, close and sync old segments."""
        with self._lock:
            segment = self.current
            if segment is None:
                return
            if self.on_reserve:
                try:
                    self._allocate_reserve()
                    fresh = self._make_segment()
                except OSError:
                    return
                self._retire(segment)
                self.current, self.on_reserve = fresh, False
            elif segment.size and time.monotonic() - segment.opened > SEGMENT_SECONDS:
                self._rotate(segment)
        with self._syncing:
            self._sync_closed()

    def take_recent(self, segment: Segment) -> tuple[list[tuple[int, bytes]] | None, int]:
        """The segment's final records since the last taking, each with its end, and up to where that is all there are.

        None in place of the records: they must be read from the file, up to there.
        """
        with self._lock:
            recent, segment.recent, segment.room = segment.recent, [], RECENT_BYTES
            return recent, segment.size

    def release(self, segment: Segment) -> None:
        """Remove a closed segment whose records are all in the database."""
        with self._syncing:
            with self._lock:
                for those in (self.closed, self._unsynced):
                    if segment in those:
                        those.remove(segment)
            segment.remove()


def claim_dead(folder: Path, own: str) -> list[Segment]:
    """The segments of workers that are gone, locked by us, oldest first. Whoever lives keeps its lock."""
    claimed = []
    for path in sorted(folder.glob("*.log")):
        if path.name.startswith(f"{own}-"):
            continue
        if (segment := _claim(path)) is not None:
            claimed.append(segment)
    for leftover in [*folder.glob("*.new"), *folder.glob("*.reserve")]:
        if not leftover.name.startswith(f"{own}-") and not leftover.name.startswith(f"{own}."):
            _sweep(leftover)
    return claimed


def _claim(path: Path) -> Segment | None:
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        opened, named = os.fstat(fd), path.stat()
    except OSError:  # its worker lives, or somebody else has replayed and removed it
        os.close(fd)
        return None
    if opened.st_ino != named.st_ino:
        os.close(fd)
        return None
    return Segment(path, fd, opened.st_size)


def _sweep(path: Path) -> None:
    """Remove what a worker that is gone had made but not written to."""
    with contextlib.suppress(FileNotFoundError):
        if path.suffix == ".new" and time.time() - path.stat().st_mtime < UNBORN_SECONDS:
            return
    segment = _claim(path)
    if segment is None:
        return
    segment.remove()
