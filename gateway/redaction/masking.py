"""Putting placeholders in the place of what was found, in every text of a body."""

import hmac
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from gateway.core.texts import is_binary, rewritten
from gateway.redaction.finder import Finder
from gateway.redaction.vault import PLACEHOLDER, Vault

# Who somebody is, not what they say: kept apart for each person, so a pseudonym that stays the same over calls.
IDENTITY_FIELDS = frozenset({"user", "safety_identifier", "prompt_cache_key", "customer_identifier"})
LABEL_IDENTITIES = frozenset({"user_id", "session_id", "run_id"})


class DetectorFailed(Exception):
    """A detector raised. Its message is left out: it may hold the text."""


class Masker:
    """Masks texts for one call. `on_error`: block raises DetectorFailed, mask hides the whole text, allow leaves it."""

    def __init__(self, finder: Finder, vault: Vault, *, on_error: str, pepper: bytes) -> None:
        self.finder, self.vault = finder, vault
        self.on_error, self.pepper = on_error, pepper
        self.failures = 0

    def body(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body with every text masked; the same object where nothing was found. The body itself is not changed."""
        for field in IDENTITY_FIELDS & body.keys():
            if isinstance(body[field], str) and (named := self.identity(body[field])) != body[field]:
                body = {**body, field: named}
        masked: dict[str, Any] = rewritten(body, self.visit, known=self.finder.plain_keys)
        return masked

    def visit(self, text: str, field: str) -> str:
        """The text with placeholders in place of what was found; the same object where nothing was."""
        if not text or (not field and self.finder.is_plain_key(text)):
            return text
        try:
            spans = self.finder.find(text, field)
        except Exception:
            self.failures += 1
            if self.on_error == "mask":
                if not field and text.isidentifier():
                    return text  # a key of the protocol: without it the body would be none
                return self.vault.placeholder(text, "redacted")
            if self.on_error == "allow":
                return text
            raise DetectorFailed from None
        if not spans:
            return text
        pieces: list[str] = []
        done = 0
        for start, end, kind in spans:
            pieces += (text[done:start], self.vault.placeholder(text[start:end], kind))
            done = end
        pieces.append(text[done:])
        return "".join(pieces)

    def labels(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """A call's metadata for the record: identities by pseudonym, all else masked."""
        named = {
            field: self.identity(value)
            for field, value in metadata.items()
            if field in LABEL_IDENTITIES and isinstance(value, str)
        }
        masked: dict[str, Any] = rewritten({**metadata, **named}, self.visit, known=self.finder.plain_keys, free=True)
        return masked

    def identity(self, text: str) -> str:
        """An end user's identifier: as it is, or a pseudonym where it holds personal data, the same in every call."""
        if not text or self.visit_would_leave(text):
            return text
        digest = hmac.new(self.pepper, text.encode("utf-8", "surrogatepass"), sha256).hexdigest()[:20]
        self.vault.found["identity"] = self.vault.found.get("identity", 0) + 1
        return f"pseudonym-{digest}"

    def visit_would_leave(self, text: str) -> bool:
        try:
            return not self.finder.find(text, "")
        except Exception:
            self.failures += 1
            if self.on_error == "block":
                raise DetectorFailed from None
            return self.on_error == "allow"


def placeholders_in(value: Any, key: str = "") -> Iterator[str]:
    """Names of placeholders that a body already holds, so that none of them is given out again."""
    if isinstance(value, str):
        if "<" in value and not is_binary(value, key):
            yield from PLACEHOLDER.findall(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            if "<" in key:
                yield from PLACEHOLDER.findall(key)
            yield from placeholders_in(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from placeholders_in(item, key)
