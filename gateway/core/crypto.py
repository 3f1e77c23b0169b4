"""Encryption at rest: AES-256-GCM under a ring of keys, and the digest by which API keys are found.

A sealed value is `version(1) ‖ key id(4) ‖ nonce(12) ‖ ciphertext and tag`. The first key of the ring encrypts, all
decrypt, so a key is rotated by putting a new one in front and sealing everything anew. The associated data names
the row that a value belongs to: a ciphertext that is moved to another row or workspace does not open there.
"""

import base64
import hashlib
import os
from collections.abc import Iterable
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = b"\x01"
KEY_BYTES = 32
NONCE_BYTES = 12


class Undecryptable(Exception):
    """A sealed value that no key of the ring opens: a key was lost, or the value was changed or moved."""


def new_key() -> str:
    """A fresh random key, as it stands in ENCRYPTION_KEYS."""
    return base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode().rstrip("=")


class Keyring:
    """The keys of ENCRYPTION_KEYS. Each is 32 bytes in URL-safe base64; raises ValueError for any other."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._ciphers: dict[bytes, AESGCM] = {}
        for key in keys:
            try:
                raw = base64.urlsafe_b64decode(key + "=" * (-len(key) % 4))
            except ValueError:
                raw = b""
            if len(raw) != KEY_BYTES:
                raise ValueError("each of ENCRYPTION_KEYS must be 32 bytes in URL-safe base64 (44 characters)")
            self._ciphers[hashlib.sha256(raw).digest()[:4]] = AESGCM(raw)
        if not self._ciphers:
            raise ValueError("ENCRYPTION_KEYS holds no key")
        self._first = next(iter(self._ciphers))

    def seal(self, plain: bytes, context: str) -> bytes:
        """Encrypt under the first key. `context` names the row, e.g. "credential:7"; it is needed to open."""
        nonce = os.urandom(NONCE_BYTES)
        return VERSION + self._first + nonce + self._ciphers[self._first].encrypt(nonce, plain, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """Decrypt under whichever key sealed it. Raises Undecryptable."""
        sealed = bytes(sealed)
        cipher = self._ciphers.get(sealed[1:5])
        if sealed[:1] != VERSION or cipher is None:
            raise Undecryptable("no key of ENCRYPTION_KEYS opens this value")
        try:
            return cipher.decrypt(sealed[5 : 5 + NONCE_BYTES], sealed[5 + NONCE_BYTES :], context.encode())
        except InvalidTag:
            raise Undecryptable("this value was changed, or belongs to another row") from None

    def is_current(self, sealed: bytes) -> bool:
        """Whether the first key sealed it; if not, it should be sealed anew."""
        return bytes(sealed)[1:5] == self._first


def key_digest(pepper: bytes, secret: str) -> bytes:
    """The 32 bytes under which an API key is stored and looked up: BLAKE2b of the key, keyed with the pepper.

    Keyed BLAKE2b is a message authentication code of its own (RFC 7693 §2.9) and a quarter of HMAC-SHA-256's cost here.
    """
    return hashlib.blake2b(secret.encode("utf-8", "surrogatepass"), key=_pepper_key(pepper), digest_size=32).digest()


@lru_cache(maxsize=16)
def _pepper_key(pepper: bytes) -> bytes:
    """A pepper of any length as a key of 32 bytes."""
    return hashlib.sha256(b"tollgate api keys" + pepper).digest()
