"""Proves that the records are those that were sealed, or names the first one that is not.

For each workspace, in the order of its chain: each seal's number, predecessor, root, digest and signature; each
record that it seals; each worker's count of its records, which must have no hole; what is in the tables but was
never sealed; and the copies of the seals outside the database, which show a chain that was cut or made anew.

A record may be missing only where a signed trace says that it was dropped when its time was over.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.db import connection
from django.db.models import Count

from audit import rows
from audit.batch import CALL, Leaf, decode_leaves
from audit.models import AuditEvent, CallRecord, PendingLeaves, Seal
from audit.rows import CALL_COLUMNS, EVENT_COLUMNS, Row, at_microsecond, micros
from audit.services import sealing
from gateway.core.crypto import Keyring, Undecryptable

CHUNK = 500
NAMES = {CALL: "call", "e": "change"}


@dataclass(slots=True)
class Finding:
    """One thing that does not hold: where, and what is wrong with it."""

    workspace_id: str
    what: str

    def __str__(self) -> str:
        return f"{'workspace ' + self.workspace_id if self.workspace_id else 'the installation'}: {self.what}"


@dataclass(slots=True)
class Proof:
    """What was looked at."""

    seals: int = 0
    records: int = 0
    dropped: int = 0
    waiting: int = 0
    anchors: int = 0
    workspaces: list[str] = field(default_factory=list)


class Verifier:
    """One verification. Yields findings in the order of the chain; none means that all holds."""

    def __init__(self, keyring: Keyring, anchors: Path) -> None:
        self.keyring, self.anchors = keyring, anchors
        self.proof = Proof()

    def run(self, workspace_ids: Iterable[str] | None = None) -> Iterator[Finding]:
        """Look at these workspaces, or at all there ever were. Reads the database as of one moment.

        Seals go on being made meanwhile, and their copies: only those that lay there before that moment count.
        """
        copied = {file: file.stat().st_size for file in self.anchors.glob("*.jsonl")}
        with one_view_of_the_database():
            try:
                keys = sealing.public_keys(self.keyring)
            except (Undecryptable, ValueError) as error:
                yield Finding("", f"a signing key can't be trusted: {error}")
                keys = {}
            for workspace_id in all_workspace_ids() if workspace_ids is None else workspace_ids:
                self.proof.workspaces.append(workspace_id)
                file = sealing.export_file(self.anchors, workspace_id)
                copies = sealing.read_export(file, first_bytes=copied.get(file, 0))
                yield from _Chain(workspace_id, keys, self.proof).findings(copies)


class _Chain:
    """The chain of one workspace."""

    def __init__(self, workspace_id: str, keys: dict[str, Ed25519PublicKey], proof: Proof) -> None:
        self.workspace_id, self.keys, self.proof = workspace_id, keys, proof
        self.dropped_before = dropped_before(workspace_id, keys)
        self.last: dict[str, int] = {}  # worker -> the seq of its newest record
        self.holes: dict[str, set[int]] = {}
        self.present = {CALL: 0, "e": 0}

    def findings(self, copies: Iterable[dict[str, Any]]) -> Iterator[Finding]:
        for what in self._all(copies):
            yield Finding(self.workspace_id, what)

    def _all(self, copies: Iterable[dict[str, Any]]) -> Iterator[str]:
        digests: dict[int, str] = {}
        previous, n, seq = sealing.GENESIS, 0, 1
        for seal in Seal.objects.filter(workspace_id=self.workspace_id).order_by("n").iterator(chunk_size=50):
            n += 1
            yield from self._seal(seal, n=n, seq=seq, previous=previous)
            previous, seq, n = seal.digest, seal.first_seq + seal.count, seal.n
            digests[seal.n] = seal.digest
            self.proof.seals += 1
        yield from self._anchors(copies, digests)
        yield from self._pending()
        yield from self._holes()
        yield from self._strangers()

    def _seal(self, seal: Seal, *, n: int, seq: int, previous: str) -> Iterator[str]:
        name = f"seal {seal.n}"
        if seal.n != n:
            yield f"seal {n} is missing: the chain goes on with {name}"
        elif seal.previous != previous:
            yield f"{name} does not follow the seal before it"
        if seal.first_seq != seq and seal.n == n:
            yield f"{name} begins at record {seal.first_seq} instead of {seq}"
        try:
            leaves = sealing.leaves_of(seal)
        except ValueError:
            yield f"{name}: its list of records is damaged"
            return
        if len(leaves) != seal.count or sealing.root_of(leaves).hex() != seal.root:
            yield f"{name}: its list of records is not the one that was sealed"
        if sealing.digest_of(seal) != seal.digest:
            yield f"{name} was changed"
        elif not self._is_signed(seal):
            yield f"{name}: its signature does not hold"
        for start in range(0, len(leaves), CHUNK):
            yield from self._leaves(leaves[start : start + CHUNK])

    def _is_signed(self, seal: Seal) -> bool:
        return is_signed(self.keys, seal.key_id, bytes.fromhex(seal.digest), seal.signature)

    def _leaves(self, leaves: list[Leaf]) -> Iterator[str]:
        stored = stored_rows(leaves)
        for leaf in leaves:
            kind, record_id, digest, worker, seq, at_us = leaf
            row = stored.get((kind, record_id))
            self.proof.records += 1
            if row is not None:
                self.present[kind] = self.present.get(kind, 0) + 1
                if rows.digest(row) != digest:
                    yield f"{NAMES[kind]} {record_id} was changed"
            elif at_us < self.dropped_before.get(kind, 0):
                self.proof.dropped += 1
            else:
                yield f"{NAMES.get(kind, kind)} {record_id} was removed"
            if worker and seq:
                yield from self._count(worker, seq, record_id)

    def _count(self, worker: str, seq: int, record_id: str) -> Iterator[str]:
        last = self.last.get(worker, 0)
        holes = self.holes.setdefault(worker, set())
        if seq > last:
            holes.update(range(last + 1, seq))
            self.last[worker] = seq
        elif seq in holes:
            holes.remove(seq)
        else:
            yield f"call {record_id} repeats number {seq} of worker {worker}"

    def _anchors(self, copies: Iterable[dict[str, Any]], digests: dict[int, str]) -> Iterator[str]:
        for line in copies:
            self.proof.anchors += 1
            n = int(line.get("n", 0))
            if n not in digests:
                yield f"seal {n} was removed: its copy outside the database is still there"
            elif digests[n] != line.get("digest"):
                yield f"seal {n} is not the one whose copy lies outside the database"

    def _pending(self) -> Iterator[str]:
        """What waits for its seal is held against the tables too."""
        for row in PendingLeaves.objects.filter(workspace_id=self.workspace_id).order_by("pk").iterator():
            leaves = decode_leaves(bytes(row.leaves))
            self.proof.waiting += len(leaves)
            yield from self._leaves(leaves)

    def _holes(self) -> Iterator[str]:
        if not any(self.holes.values()):
            return
        unreadable = set(unreadable_numbers(self.workspace_id))
        for worker, holes in self.holes.items():
            for seq in sorted(holes):
                if (worker, seq) not in unreadable:
                    yield f"record number {seq} of worker {worker} was removed before it was sealed"

    def _strangers(self) -> Iterator[str]:
        """What is in the tables but in no seal. Counted first; looked for only when the count is off."""
        for kind, table in ((CALL, CallRecord), ("e", AuditEvent)):
            found = table.objects.filter(workspace_id=self.workspace_id)
            if found.count() == self.present[kind]:
                continue
            known = self._known_ids(kind)
            for record_id in found.order_by("at").values_list("pk", flat=True).iterator(chunk_size=5000):
                if str(record_id) not in known:
                    yield f"{NAMES[kind]} {record_id} was put there by other means: no seal knows it"
            for twice in found.order_by().values("pk").annotate(times=Count("at")).filter(times__gt=1):
                yield f"{NAMES[kind]} {twice['pk']} stands there more than once"  # partitions: a key is (id, at)

    def _known_ids(self, kind: str) -> set[str]:
        known: set[str] = set()
        for seal in Seal.objects.filter(workspace_id=self.workspace_id).iterator(chunk_size=50):
            with contextlib.suppress(ValueError):
                known.update(leaf[1] for leaf in sealing.leaves_of(seal) if leaf[0] == kind)
        for row in PendingLeaves.objects.filter(workspace_id=self.workspace_id):
            known.update(leaf[1] for leaf in decode_leaves(bytes(row.leaves)) if leaf[0] == kind)
        return known


def is_signed(keys: dict[str, Ed25519PublicKey], key_id: str, data: bytes, signature: str) -> bool:
    """Whether one of our keys signed this."""
    if (key := keys.get(key_id)) is None:
        return False
    try:
        key.verify(bytes.fromhex(signature), data)
    except (InvalidSignature, ValueError):
        return False
    return True


def all_workspace_ids() -> list[str]:
    """Every workspace that ever had a record, also those that are gone; the installation itself first."""
    found: set[str] = set()
    for table in (Seal, PendingLeaves, CallRecord, AuditEvent):
        found.update(table.objects.order_by().values_list("workspace_id", flat=True).distinct())
    return sorted(found)


def stored_rows(leaves: list[Leaf]) -> dict[tuple[str, str], Row]:
    """The rows that these leaves are about, as their digests were made."""
    calls = [leaf for leaf in leaves if leaf[0] == CALL]
    events = [leaf[1] for leaf in leaves if leaf[0] != CALL]
    found: dict[tuple[str, str], Row] = {}
    if calls:
        found |= _calls(
            [leaf[1] for leaf in calls], since=min(leaf[5] for leaf in calls), until=max(leaf[5] for leaf in calls)
        )
    if gone := [leaf[1] for leaf in calls if (CALL, leaf[1]) not in found]:
        found |= _calls(gone)
    if events:
        for row in AuditEvent.objects.filter(pk__in=events).order_by().values_list(*EVENT_COLUMNS):
            found[("e", str(row[0]))] = as_sealed((str(row[0]), *row[1:]))
    return found


def _calls(ids: list[str], *, since: int | None = None, until: int = 0) -> dict[tuple[str, str], Row]:
    """Calls by id; on PostgreSQL at first only in the partitions of their time, which may have been changed."""
    calls = CallRecord.objects.filter(pk__in=ids).order_by()
    if since is not None and connection.vendor == "postgresql":
        calls = calls.filter(at__gte=at_microsecond(since), at__lte=at_microsecond(until))
    return {(CALL, row[0]): as_sealed(row) for row in calls.values_list(*CALL_COLUMNS)}


def as_sealed(row: Row) -> Row:
    """A stored row's values as its seal was made over them: times in microseconds."""
    return tuple(micros(value) if hasattr(value, "tzinfo") else value for value in row)


def row_of_call(record: CallRecord) -> Row:
    return as_sealed(tuple(getattr(record, column) for column in CALL_COLUMNS))


def dropped_before(workspace_id: str, keys: dict[str, Ed25519PublicKey]) -> dict[str, int]:
    """Leaf kind → microseconds since 1970: what is older was dropped, says a trace that our key signed."""
    latest: dict[str, int] = {}
    for data in AuditEvent.objects.filter(workspace_id=workspace_id, kind="retention.drop").values_list(
        "data", flat=True
    ):
        trace: dict[str, Any] = json.loads(data)
        kind, before = trace.get("leaves", ""), int(trace.get("before_us", 0))
        if is_signed(
            keys, trace.get("key_id", ""), drop_statement(workspace_id, kind, before), trace.get("signature", "")
        ):
            latest[kind] = max(latest.get(kind, 0), before)
    return latest


def drop_statement(workspace_id: str, kind: str, before_us: int) -> bytes:
    """What is signed when records are dropped."""
    return f"tollgate retention\n{workspace_id}\n{kind}\n{before_us}".encode()


def unreadable_numbers(workspace_id: str) -> Iterator[tuple[str, int]]:
    """(worker, seq) of records that the database refused, as their events say."""
    for data in AuditEvent.objects.filter(workspace_id=workspace_id, kind="record.unreadable").values_list(
        "data", flat=True
    ):
        told = json.loads(data)
        if "seq" in told:
            yield told["worker"], int(told["seq"])


@contextlib.contextmanager
def one_view_of_the_database() -> Iterator[None]:
    """Read as of one moment, while writers go on."""
    if connection.in_atomic_block:
        yield
        return
    opening = "BEGIN DEFERRED" if connection.vendor == "sqlite" else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    with connection.cursor() as cursor:
        cursor.execute(opening)
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")
