"""A call of a workspace that redacts, without a server or a database."""

from typing import Any

from gateway.core.call import Call, Caller, Controls
from gateway.edge.chat import Chat
from gateway.redaction.finder import PERSONAL
from gateway.snapshot import RedactionView, RoutesSnapshot

ZA_ID = "8001015009087"
ORIGINALS = {
    "email": "thabo.mokoena@example.co.za",
    "phone": "082 123 4567",
    "id_number": ZA_ID,
    "credit_card": "4111 1111 1111 1111",
    "iban": "DE89 3704 0044 0532 0130 00",
    "ip_address": "41.13.22.8",
    "person": "Thabo Mokoena",
    "secret": "sk-proj-abcDEF1234567890abcdEFGH",
}


def routes(**changes: Any) -> RoutesSnapshot:
    """Routes of one workspace, `w`, with a policy that restores all kinds unless told otherwise."""
    view = {"detect": PERSONAL | {"secret", "custom"}, "action": "restore", **changes}
    return RoutesSnapshot({}, {}, redaction={"w": RedactionView(**view)}, pepper=b"pepper")


def call(*contents: Any, stream: bool = False, body: dict[str, Any] | None = None, **controls: Any) -> Call:
    """A chat call of workspace `w` with one user message for each content."""
    messages = [{"role": "user", "content": content} for content in contents]
    return Call(
        id="call-1",
        form=Chat(),
        body={"model": "chat", "messages": messages} if body is None else body,
        model="chat",
        stream=stream,
        controls=Controls(**controls),
        caller=Caller("w", "acme", "k", "web"),
    )
