"""The originals of one call, each under the placeholder that went out in its place."""

import os
import re
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# In memory only, and for this process only: a dump, a traceback or an error report that shows a vault shows no original.
_CIPHER = AESGCM(AESGCM.generate_key(bit_length=128))
_DIGEST_KEY = os.urandom(32)

PLACEHOLDER = re.compile(r"<([A-Z][A-Z_]{1,11}_[0-9]{1,6})>")


class Vault:
    """Placeholders of one call. The same original has the same placeholder throughout the call.

    `taken` tells which placeholders the caller's own text already holds (asked when the first is made): they are
    nobody's, so they are never given out and come back as they are. `gives_back` says whether answers are restored.
    """

    __slots__ = ("_ask", "_by_digest", "_counts", "_sealed", "_taken", "found", "gives_back", "looked", "restorer")

    def __init__(self, taken: Callable[[], Iterable[str]] = tuple, *, gives_back: bool) -> None:
        self._ask = taken
        self._taken: frozenset[str] | None = None
        self._by_digest: dict[bytes, str] = {}
        self._sealed: dict[str, tuple[bytes, bytes]] = {}
        self._counts: dict[str, int] = {}
        self.gives_back = gives_back
        self.found: dict[str, int] = {}  # how often each kind was masked
        self.looked = 0  # characters restored since the event loop last had its turn
        self.restorer: Any = None  # the stream's state (gateway.redaction.streams), made when an answer first needs it

    times = 1  # that an answer is gone over
    again = 500  # restoring an event costs about as much as looking at so many characters

    def __repr__(self) -> str:
        return f"Vault({len(self._sealed)} originals)"

    def __len__(self) -> int:
        return len(self._sealed)

    def placeholder(self, original: str, kind: str) -> str:
        """The placeholder of an original, e.g. `<EMAIL_1>`."""
        self.found[kind] = self.found.get(kind, 0) + 1
        digest = blake2b(
            f"{kind}\0{original}".encode("utf-8", "surrogatepass"), digest_size=16, key=_DIGEST_KEY
        ).digest()
        name = self._by_digest.get(digest)
        if name is None:
            name = self._new_name(kind)
            self._by_digest[digest] = name
            nonce = os.urandom(12)
            self._sealed[name] = (nonce, _CIPHER.encrypt(nonce, original.encode("utf-8", "surrogatepass"), None))
        return f"<{name}>"

    def _new_name(self, kind: str) -> str:
        if self._taken is None:
            self._taken = frozenset(self._ask())
            self._ask = tuple  # it may hold on to the unmasked body
        count = self._counts.get(kind, 0) + 1
        while (name := f"{kind.upper()}_{count}") in self._taken:
            count += 1
        self._counts[kind] = count
        return name

    def original(self, name: str) -> str | None:
        """The original behind a placeholder's name (without its brackets), or None where we gave out no such name."""
        sealed = self._sealed.get(name)
        return None if sealed is None else _CIPHER.decrypt(*sealed, None).decode("utf-8", "surrogatepass")
