"""Bodies as they are stored: encrypted before they reach the journal, so that erasing a key reaches every copy.

    master keyring ──wraps──► body key (one per workspace, subject and day) ──encrypts──► salt || bytes

The commitment SHA-256(salt || bytes) goes into the record. Once the key is destroyed it says nothing about the
bytes, however guessable they are, because the salt is gone too.
"""

import hashlib
import os
import secrets
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from audit.record import BodyKeyRecord, SealedBody

SALT_BYTES = 32
NONCE_BYTES = 12
KEYS_IN_MEMORY = 4096

Wrap = Callable[[bytes, str], bytes]  # (secret, what it belongs to) -> ciphertext


class BodyBroken(Exception):
    """A stored body does not hold: another key, another place, or changed bytes."""


def body_aad(workspace_id: str, call_id: str, kind: str) -> bytes:
    """What binds a ciphertext to its place, so that it can't be moved to another call or workspace."""
    return f"body\n{workspace_id}\n{call_id}\n{kind}".encode("utf-8", "replace")


def key_place(workspace_id: str, key_id: str) -> str:
    """What a wrapped body key is bound to."""
    return f"body-key:{workspace_id}:{key_id}"


class BodySealer:
    """Encrypts bodies with keys that it makes itself; the keys travel, wrapped, with the records they are for."""

    def __init__(self, wrap: Wrap) -> None:
        self._wrap = wrap
        self._keys: dict[tuple[str, str, str], tuple[AESGCM, BodyKeyRecord]] = {}

    def key(self, workspace_id: str, subject: str, day: str) -> BodyKeyRecord:
        """The key for the bodies of one person (or, without one, of the workspace) on one day, UTC."""
        return self._key(workspace_id, subject, day)[1]

    def seal(self, place: tuple[str, str, str], key: tuple[str, str, str], data: bytes) -> SealedBody:
        """Encrypt one body. `place` is (workspace id, call id, kind), `key` is (workspace id, subject, day)."""
        cipher, record = self._key(*key)
        salted = secrets.token_bytes(SALT_BYTES) + data
        nonce = os.urandom(NONCE_BYTES)
        return SealedBody(
            kind=place[2],
            key_id=record.key_id,
            nonce=nonce,
            ciphertext=cipher.encrypt(nonce, salted, body_aad(*place)),
            commitment=hashlib.sha256(salted).digest(),
            size=len(data),
        )

    def _key(self, workspace_id: str, subject: str, day: str) -> tuple[AESGCM, BodyKeyRecord]:
        wanted = (workspace_id, subject, day)
        found = self._keys.get(wanted)
        if found is None:
            if len(self._keys) >= KEYS_IN_MEMORY:
                self._keys.clear()
            secret, key_id = AESGCM.generate_key(256), secrets.token_hex(16)
            wrapped = self._wrap(secret, key_place(workspace_id, key_id))
            found = AESGCM(secret), BodyKeyRecord(key_id=key_id, subject=subject, day=day, wrapped=wrapped)
            self._keys[wanted] = found
        return found

    def forget(self) -> None:
        """Make new keys from now on. After an erasure, so that no destroyed key is used again."""
        self._keys.clear()


def open_body(secret: bytes, place: tuple[str, str, str], nonce: bytes, ciphertext: bytes, commitment: bytes) -> bytes:
    """The bytes of a stored body. Raises BodyBroken when they are not what was stored in that place."""
    try:
        salted = AESGCM(secret).decrypt(nonce, ciphertext, body_aad(*place))
    except Exception as error:  # cryptography raises InvalidTag or ValueError; either way the body does not hold
        raise BodyBroken("the ciphertext does not belong to this key and place") from error
    if hashlib.sha256(salted).digest() != commitment:
        raise BodyBroken("the bytes are not those that the record committed to")
    return salted[SALT_BYTES:]
