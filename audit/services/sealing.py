"""Seals: a signed Merkle root over the records of a workspace, chained to the seal before it, and copied outside.

Made in the background, within a second or two of the records, by whichever process gets there first. A seal holds
the digest of each of its records, so any later change, removal, insertion or change of order shows; the chain and
the copies outside the database show when seals themselves are changed or cut off.
"""

import hashlib
import json
import logging
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from audit import merkle
from audit.batch import Leaf, decode_leaves, encode_leaves
from audit.models import Seal, SealKey
from audit.rows import at_microsecond, micros
from gateway.core.crypto import Keyring

log = logging.getLogger("audit.seals")

LEAVES_MOST = 5000  # in one seal
GENESIS = "0" * 64  # what the first seal of a chain names as its predecessor
LOCK = 0x746F6C6C  # PostgreSQL's advisory lock for the one sealer

IDS_AT_ONCE = 500  # SQLite may have been made to take 999 values in a statement
TAKEN_AT_ONCE = 100

_COLUMNS = (
    *("workspace_id", "n", "first_seq", "count", "first_at", "last_at", "sealed_at", "root", "previous", "digest"),
    *("key_id", "signature", "leaves"),
)
_NAMES = ", ".join(f'"{name}"' for name in _COLUMNS)
_INSERT = f"INSERT INTO audit_seal ({_NAMES}) VALUES ({', '.join(['%s'] * len(_COLUMNS))})"  # noqa: S608 -- our own names of columns
_LAST = 'SELECT n, first_seq, "count", digest FROM audit_seal WHERE workspace_id = %s ORDER BY n DESC LIMIT 1'
_PENDING = "SELECT id, leaves FROM audit_pendingleaves WHERE workspace_id = %s AND id > %s ORDER BY id LIMIT %s"
_DELETE = "DELETE FROM audit_pendingleaves WHERE id IN ({})"
_RAW = serialization.Encoding.Raw, serialization.PublicFormat.Raw
_RAW_PRIVATE = serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()


class Signer:
    """The installation's signing key: its private half lies in the database, wrapped by ENCRYPTION_KEYS."""

    def __init__(self, key_id: str, private: Ed25519PrivateKey) -> None:
        self.key_id, self._private = key_id, private
        self.public = private.public_key().public_bytes(*_RAW).hex()

    def sign(self, data: bytes) -> str:
        return self._private.sign(data).hex()


def signer(keyring: Keyring) -> Signer:
    """The newest signing key, made at the first use. Raises Undecryptable when ENCRYPTION_KEYS lost it."""
    row = SealKey.objects.order_by("-created_at", "-pk").first()
    if row is not None:
        return Signer(row.pk, Ed25519PrivateKey.from_private_bytes(keyring.open(bytes(row.wrapped), key_place(row.pk))))
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(*_RAW)
    key_id = hashlib.sha256(public).hexdigest()[:16]
    wrapped = keyring.seal(private.private_bytes(*_RAW_PRIVATE), key_place(key_id))
    SealKey.objects.create(pk=key_id, public=public.hex(), wrapped=wrapped)
    return Signer(key_id, private)


def key_place(key_id: str) -> str:
    """What a wrapped signing key is bound to."""
    return f"seal-key:{key_id}"


def public_keys(keyring: Keyring) -> dict[str, Ed25519PublicKey]:
    """Every signing key that ENCRYPTION_KEYS vouches for: a public key that was put there by hand is not among them."""
    found = {}
    for row in SealKey.objects.all():
        private = Ed25519PrivateKey.from_private_bytes(keyring.open(bytes(row.wrapped), key_place(row.pk)))
        found[row.pk] = private.public_key()
    return found


class Sealer:
    """Seals what is pending and copies new seals to `folder`, one file of JSON lines for each workspace."""

    def __init__(self, keyring: Keyring, folder: Path) -> None:
        self.keyring, self.folder = keyring, folder
        self._signer: Signer | None = None
        self._exported: dict[str, int] = {}

    def __call__(self) -> None:
        """Once a second."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM audit_pendingleaves LIMIT 1")
            is_something_pending = cursor.fetchone() is not None
        if is_something_pending:
            for seal in self._sealed():
                self.export(seal.workspace_id, fresh=seal)

    def seal(self) -> list[str]:
        """One seal for each workspace that has something pending. Returns their ids."""
        return [seal.workspace_id for seal in self._sealed()]

    def _sealed(self) -> list[Seal]:
        """The seals that were made, after they are in the database."""
        with transaction.atomic(), connection.cursor() as cursor:
            if not _is_the_one_sealer():
                return []
            key = self._signer = self._signer or signer(self.keyring)
            cursor.execute("SELECT DISTINCT workspace_id FROM audit_pendingleaves")
            return [_seal(cursor, workspace_id, key) for (workspace_id,) in cursor.fetchall()]

    def export(self, workspace_id: str, *, fresh: Seal | None = None) -> None:
        """Append the seals that are not yet in the file outside, and tell them to the log.

        `fresh` is the newest one, which need not be asked for where it is the only one.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = export_file(self.folder, workspace_id)
        if workspace_id not in self._exported:
            self._exported[workspace_id] = max((int(line["n"]) for line in read_export(file)), default=0)
        done = self._exported[workspace_id]
        untold: Iterable[Seal] = (
            [fresh] if fresh is not None and fresh.n == done + 1 else _seals_after(workspace_id, done)
        )
        lines = []
        for seal in untold:
            told = exported(seal)
            lines.append(json.dumps(told))
            self._exported[workspace_id] = seal.n
            log.info("sealed", extra={"seal": told})
        if lines:
            with file.open("a", encoding="utf-8") as outside:
                outside.write("".join(f"{line}\n" for line in lines))


def _seals_after(workspace_id: str, n: int) -> QuerySet[Seal]:
    return Seal.objects.filter(workspace_id=workspace_id, n__gt=n).order_by("n").defer("leaves")


def _seal(cursor: Any, workspace_id: str, key: Signer) -> Seal:
    """Seal what is pending in a workspace. Without the ORM: this runs every second, and it would cost five times as much."""
    taken, leaves = _take(cursor, workspace_id)
    cursor.execute(_LAST, [workspace_id])
    last = cursor.fetchone()
    times = [leaf[5] for leaf in leaves]
    seal = Seal(
        workspace_id=workspace_id,
        n=1 if last is None else last[0] + 1,
        first_seq=1 if last is None else last[1] + last[2],
        count=len(leaves),
        first_at=at_microsecond(min(times)),
        last_at=at_microsecond(max(times)),
        sealed_at=timezone.now(),
        root=root_of(leaves).hex(),
        previous=GENESIS if last is None else last[3],
        key_id=key.key_id,
        leaves=zlib.compress(encode_leaves(leaves), 1),
    )
    seal.digest = digest_of(seal)
    seal.signature = key.sign(bytes.fromhex(seal.digest))
    as_kept = connection.ops.adapt_datetimefield_value
    values = [getattr(seal, name) for name in _COLUMNS]
    cursor.execute(_INSERT, [as_kept(value) if isinstance(value, datetime) else value for value in values])
    for start in range(0, len(taken), IDS_AT_ONCE):
        part = taken[start : start + IDS_AT_ONCE]
        cursor.execute(_DELETE.format(", ".join(["%s"] * len(part))), part)
    return seal


def _is_the_one_sealer() -> bool:
    """Whether this transaction may seal. SQLite lets one writer in at a time anyway."""
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        return bool(cursor.fetchone()[0])


def _take(cursor: Any, workspace_id: str) -> tuple[list[int], list[Leaf]]:
    """Pending rows up to the size of a seal, oldest first, and their leaves, each once."""
    taken: list[int] = []
    leaves: dict[tuple[str, str], Leaf] = {}
    found = [(0, b"")] * TAKEN_AT_ONCE
    while len(found) == TAKEN_AT_ONCE and len(leaves) < LEAVES_MOST:
        cursor.execute(_PENDING, [workspace_id, taken[-1] if taken else 0, TAKEN_AT_ONCE])
        found = cursor.fetchall()
        for pk, packed in found:
            taken.append(pk)
            for leaf in decode_leaves(bytes(packed)):
                leaves.setdefault((leaf[0], leaf[1]), leaf)
            if len(leaves) >= LEAVES_MOST:
                break
    return taken, list(leaves.values())


def leaves_of(seal: Seal) -> list[Leaf]:
    """The leaves that stand in a seal. Raises ValueError when the bytes are no leaves."""
    try:
        return decode_leaves(zlib.decompress(bytes(seal.leaves)))
    except zlib.error as error:
        raise ValueError(str(error)) from None


def root_of(leaves: Sequence[Leaf]) -> bytes:
    return merkle.root([merkle.leaf_hash(encode_leaves([leaf])) for leaf in leaves])


def digest_of(seal: Seal) -> str:
    """SHA-256 over everything in the seal but its signature; the root stands for its leaves."""
    parts = [
        seal.workspace_id,
        seal.n,
        seal.first_seq,
        seal.count,
        micros(seal.first_at),
        micros(seal.last_at),
        micros(seal.sealed_at),
        seal.root,
        seal.previous,
        seal.key_id,
    ]
    return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()


def exported(seal: Seal) -> dict[str, object]:
    """A seal as it stands outside the database: enough to hold the chain against."""
    sealed_at: datetime = seal.sealed_at
    return {
        "workspace_id": seal.workspace_id,
        "n": seal.n,
        "first_seq": seal.first_seq,
        "count": seal.count,
        "root": seal.root,
        "previous": seal.previous,
        "digest": seal.digest,
        "signature": seal.signature,
        "key_id": seal.key_id,
        "sealed_at": sealed_at.isoformat(),
    }


def export_file(folder: Path, workspace_id: str) -> Path:
    return folder / f"{workspace_id or 'installation'}.jsonl"


def read_export(file: Path, *, first_bytes: int | None = None) -> Iterator[dict[str, Any]]:
    """The seals in a file outside, or in so much of it; a line that was cut short by a crash is passed over."""
    position = 0
    if not file.exists():
        return
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            position += len(line)  # the lines are ASCII
            if first_bytes is not None and position > first_bytes:
                return
            try:
                yield json.loads(line)
            except ValueError:
                continue
