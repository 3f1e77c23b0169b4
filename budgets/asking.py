"""The link that a refused caller gets, by which more can be asked for. Made on the path of a call, so without Django.

The link is the only right that its holder needs: it names one budget and one subject, says who was refused, and can do
nothing but ask. It is signed with the installation's secret and is good for a week.
"""

import base64
import binascii
import hashlib
import hmac
import time
from typing import NamedTuple

import msgspec

GOOD_SECONDS = 7 * 86_400
MAC_BYTES = 16
NAME_MOST = 200
PATH = "/ask/"


class Asked(NamedTuple):
    """What a link says: the budget's id, whose spending (as the ledger writes it), who was refused, when."""

    budget: str
    subject: str
    who: str
    at: int


class Asking:
    """Makes such links and reads them. `base` is where people reach the pages; empty, links begin with their path."""

    __slots__ = ("_key", "base")

    def __init__(self, base: str, secret: str) -> None:
        self.base = base.rstrip("/")
        self._key = hashlib.sha256(b"tollgate asking for more\0" + secret.encode()).digest()

    def link(self, budget: str, subject: str, who: str) -> str:
        """The address at which more of this budget can be asked for."""
        asked = (budget, clean(subject), clean(who), int(time.time()))
        payload = msgspec.msgpack.encode(asked)
        return f"{self.base}{PATH}{base64.urlsafe_b64encode(self._mac(payload) + payload).rstrip(b'=').decode()}/"

    def read(self, token: str) -> Asked | None:
        """What a link's last part says, None where it was not made here or is too old."""
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        mac, payload = raw[:MAC_BYTES], raw[MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(payload)):
            return None
        asked = Asked(*msgspec.msgpack.decode(payload))
        return asked if time.time() - asked.at <= GOOD_SECONDS else None

    def _mac(self, payload: bytes) -> bytes:
        return hashlib.blake2b(payload, key=self._key, digest_size=MAC_BYTES).digest()


def clean(name: str) -> str:
    """A caller's word as a database can keep it."""
    return name.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")[:NAME_MOST]
