"""What a form is: one of the wire formats that a caller may speak to us (chat, messages, responses …)."""

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from gateway.core.call import Call, Delta
    from gateway.core.errors import GatewayError


SOUND_FORMS = frozenset({"audio_speech"})  # whose answers are bytes to pass on, and no text to look at


class Writer(Protocol):
    """Writes one streamed answer in a caller's form. Made for one call, fed its deltas in order."""

    def delta(self, delta: "Delta") -> bytes:
        """The bytes to send for this delta; empty when the caller sees nothing of it."""
        ...

    def end(self) -> bytes:
        """The bytes that end an answer that came to its end. Sent after the record is written."""
        ...

    def error(self, error: "GatewayError") -> bytes:
        """The bytes that say, after the first byte, that the answer broke off."""
        ...


class Form(Protocol):
    """One inbound wire format. `name` is what providers list in their own `forms`."""

    name: str

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body as an OpenAI chat-completions request. Raises Unsupported, naming the field, if it can't be."""
        ...

    def whole(self, call: "Call", delta: "Delta") -> bytes:
        """The body of an answer that was not streamed."""
        ...

    def writer(self, call: "Call") -> Writer: ...

    def error(self, error: "GatewayError", call_id: str) -> bytes:
        """The body of an error answer in this form's shape."""
        ...
