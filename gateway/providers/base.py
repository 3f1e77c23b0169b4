"""What a provider adapter is: translation only, pure functions, no I/O."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

import msgspec

from gateway.core.call import Delta, Target
from gateway.core.errors import UpstreamError


class Outgoing(msgspec.Struct):
    """A request ready to be sent. Headers are lower case and hold the credential.

    after   where an upload is passed on as it comes: it follows `body`, and then what this makes of the fields that
            stood after it
    """

    url: str
    headers: dict[str, str]
    body: bytes
    method: str = "POST"
    after: Callable[[Mapping[str, Any]], bytes] | None = None


class Reader(Protocol):
    """Reads one streamed answer. Made for one attempt, fed its bytes as they come, cut anywhere."""

    def feed(self, chunk: bytes) -> list[Delta]:
        """The deltas that these bytes completed. Raises UpstreamError for an error inside the stream."""
        ...

    def end(self) -> list[Delta]:
        """The deltas left at the end of the bytes.

        Raises UpstreamBroken unless the provider's own end was seen: a cut stream must never look finished.
        """
        ...


class Provider(Protocol):
    """One kind of provider.

    forms   the forms that it speaks itself, e.g. {"chat", "embeddings"}: a call in one of these passes
            through unchanged but for what wire.md names; any other call comes here as "chat"
    can     what it can do, in the words of providers/abilities.py, and how that was verified
    """

    forms: frozenset[str]
    can: ClassVar[Mapping[str, str]]

    def request(self, body: dict[str, Any], form: str, target: Target, *, stream: bool) -> Outgoing:
        """The request to send. `body` is in `form` and must not be changed. Raises Unsupported, naming the field."""
        ...

    def answer(self, body: bytes, form: str, target: Target) -> Delta:
        """A whole answer with status 200. Raises UpstreamUnavailable(kind="bad_answer") when it is none."""
        ...

    def reader(self, form: str, target: Target) -> Reader: ...

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """What an error answer means, and whether another target may do better."""
        ...
