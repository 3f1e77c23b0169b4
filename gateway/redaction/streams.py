"""Restoring a streamed answer, event by event, in each of the forms that streams.

Every text of an answer (a choice's content, a tool call's arguments, a block) is a channel of its own, because pieces of
several may come in turns. An event goes on with what its channels can show; what is held is shown with the next piece,
or, where the text ends, in or right before the event that ends it. So no event is ever dropped.
"""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from gateway.core.call import Delta
from gateway.redaction.restoring import Channel, could_hold, restored_all
from gateway.redaction.vault import Vault

Key = tuple[Any, ...]


class Piece(NamedTuple):
    """A piece of a text within an event: which text, and where it stands."""

    key: Key
    holder: dict[str, Any]
    field: str
    in_json: bool  # tool arguments: JSON within a string
    visible: bool


def chat_pieces(event: dict[str, Any]) -> Iterator[Piece]:
    """Pieces of chat completions and of completions."""
    for choice in event.get("choices") or ():
        index = choice.get("index", 0)
        if isinstance(choice.get("text"), str):
            yield Piece((index, "text"), choice, "text", False, True)
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            continue
        for field in ("content", "refusal", "reasoning_content", "reasoning"):
            if isinstance(delta.get(field), str):
                yield Piece((index, field), delta, field, False, field in ("content", "refusal"))
        called = [(each.get("index", place), each) for place, each in enumerate(delta.get("tool_calls") or ())]
        for number, holder in (*called, (-1, delta)):
            for part, field in (("function", "arguments"), ("function_call", "arguments"), ("custom", "input")):
                inner = holder.get(part)
                if isinstance(inner, dict) and isinstance(inner.get(field), str):
                    yield Piece((index, part, number), inner, field, field == "arguments", False)


MESSAGES_FIELDS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


def messages_pieces(event: dict[str, Any]) -> Iterator[Piece]:
    delta = event.get("delta")
    if event.get("type") == "content_block_delta" and isinstance(delta, dict):
        field = MESSAGES_FIELDS.get(delta.get("type", ""), "")
        if isinstance(delta.get(field), str):
            yield Piece((event.get("index"), field), delta, field, field == "partial_json", field == "text")


def responses_pieces(event: dict[str, Any]) -> Iterator[Piece]:
    kind = event.get("type", "")
    if kind.endswith(".delta") and isinstance(event.get("delta"), str):
        in_json = kind.endswith("_arguments.delta")
        yield Piece(_responses_key(event, kind[: -len(".delta")]), event, "delta", in_json, "output_text" in kind)


def _responses_key(event: dict[str, Any], kind: str) -> Key:
    return kind, event.get("output_index"), event.get("content_index"), event.get("summary_index")


PIECES: dict[str, Callable[[dict[str, Any]], Iterator[Piece]]] = {
    "chat": chat_pieces,
    "completions": chat_pieces,
    "messages": messages_pieces,
    "responses": responses_pieces,
}


class Restorer:
    """Restores the streamed answer of one call. `json_answer`: the caller asked for JSON, so the text is JSON too."""

    def __init__(self, vault: Vault, *, json_answer: bool) -> None:
        self.vault, self.json_answer = vault, json_answer
        self.channels: dict[Key, Channel] = {}
        self.holding = 0  # channels that hold something
        self.visible = ""  # what the event at hand shows
        self.added = 0  # events that we put in, which shifts the sequence numbers of those after them

    def restore(self, delta: Delta) -> Delta:
        """The delta to show: the same object where nothing in it changes."""
        raw = delta.raw
        if not self.holding and not self.added and raw is not None and not _could_hold_raw(raw):
            return delta
        event = delta.data if delta.data is not None else _event_of(raw or b"")
        if not isinstance(event, dict):
            return delta
        return self._rewritten(delta, event)

    def _rewritten(self, delta: Delta, event: dict[str, Any]) -> Delta:
        pieces_of = PIECES.get(delta.form, chat_pieces)
        shown = copy.deepcopy(event)
        self.visible = ""
        says = False
        skipped: set[tuple[int, str]] = set()
        for piece in pieces_of(shown):
            channel = self._channel(piece)
            skipped.add((id(piece.holder), piece.field))
            text = piece.holder[piece.field] = channel.feed(piece.holder[piece.field])
            says = says or piece.visible
            self.visible += text if piece.visible else ""
            channel.template = event
        shown = self._others(shown, skipped)
        before = self._close(shown, delta.form)
        self.holding = sum(1 for channel in self.channels.values() if channel.held)
        if self.added and "sequence_number" in shown:
            shown["sequence_number"] += self.added
        if shown == event and not before:
            return delta
        named = delta.form in ("messages", "responses")
        raw = b"".join(map(_written, [*before, shown])) if named else None
        return Delta(
            raw=raw, data=shown, form=delta.form,
            text=self.visible if says or self.visible else delta.text, hidden=delta.hidden,
            finish=delta.finish, usage=delta.usage, usage_only=delta.usage_only,
        )  # fmt: skip

    def _channel(self, piece: Piece) -> Channel:
        channel = self.channels.get(piece.key)
        if channel is None:
            in_json = piece.in_json or (self.json_answer and piece.visible)
            channel = self.channels[piece.key] = Channel(self.vault, in_json=in_json)
        return channel

    def _others(self, value: Any, skipped: set[tuple[int, str]], key: str = "") -> Any:
        """Everything in the event but the pieces, whole texts such as those that repeat an answer at its end."""
        if isinstance(value, dict):
            fields = {
                name: item if (id(value), name) in skipped else self._others(item, skipped, name)
                for name, item in value.items()
            }
            if all(fields[name] is item for name, item in value.items()):
                return value
            return fields
        if isinstance(value, list):
            for place, item in enumerate(value):
                value[place] = self._others(item, skipped, key)
            return value
        return restored_all(value, self.vault, json_answer=self.json_answer, key=key)

    # --- Where a text ends ---------------------------------------------------------------------

    def _close(self, event: dict[str, Any], form: str) -> list[dict[str, Any]]:
        """Show what is held of texts that this event ends: within it, or as events to send before it."""
        if not any(channel.held for channel in self.channels.values()):
            return []
        if form in ("chat", "completions"):
            for choice in event.get("choices") or ():
                if choice.get("finish_reason"):
                    self._close_choice(choice)
            return []
        return [self._last_event(key, form) for key in self._ended(event, form) if self.channels[key].held]

    def _close_choice(self, choice: dict[str, Any]) -> None:
        index = choice.get("index", 0)
        for key, channel in self.channels.items():
            if key[0] != index or not channel.held:
                continue
            rest = channel.rest()
            self.visible += rest if key[1] in ("text", "content", "refusal") else ""
            if key[1] == "text":
                choice["text"] = (choice.get("text") or "") + rest
            elif len(key) == 2:
                delta = choice.setdefault("delta", {})
                delta[key[1]] = (delta.get(key[1]) or "") + rest
            else:
                self._add_to_tool_call(choice.setdefault("delta", {}), key, rest)

    def _add_to_tool_call(self, delta: dict[str, Any], key: Key, rest: str) -> None:
        _, part, number = key
        field = "input" if part == "custom" else "arguments"
        if number == -1:
            holder = delta
        else:
            calls = delta.setdefault("tool_calls", [])
            holder = next((each for each in calls if each.get("index") == number), {"index": number})
            if holder not in calls:
                calls.append(holder)
        inner = holder.setdefault(part, {})
        inner[field] = (inner.get(field) or "") + rest

    def _ended(self, event: dict[str, Any], form: str) -> list[Key]:
        kind = event.get("type", "")
        if form == "messages":
            if kind == "content_block_stop":
                return [key for key in self.channels if key[0] == event.get("index")]
            return list(self.channels) if kind in ("message_delta", "message_stop") else []
        if kind.endswith(".done"):
            ended = _responses_key(event, kind[: -len(".done")])
            if ended in self.channels:
                return [ended]
            return [key for key in self.channels if key[1] == event.get("output_index")]
        return list(self.channels) if kind in ("response.completed", "response.incomplete") else []

    def _last_event(self, key: Key, form: str) -> dict[str, Any]:
        """One more event like the channel's last, with what was held."""
        channel = self.channels[key]
        event: dict[str, Any] = copy.deepcopy(channel.template)
        for piece in PIECES[form](event):
            rest = piece.holder[piece.field] = channel.rest()
            self.visible += rest if piece.visible else ""
        if "sequence_number" in event:
            self.added += 1
            event["sequence_number"] += self.added
        return event

    def rest(self) -> Delta | None:
        """What is still held when the stream has ended without saying so; None where nothing is."""
        for channel in self.channels.values():
            if channel.held and isinstance(channel.template, dict) and "choices" in channel.template:
                event = copy.deepcopy(channel.template)
                for piece in chat_pieces(event):
                    piece.holder[piece.field] = self.channels[piece.key].rest()
                return Delta(data=event, form="chat")
        return None


def _could_hold_raw(raw: bytes) -> bool:
    return b"<" in raw or b"&" in raw or b"u003" in raw or b"\\u0026" in raw or b"\\\\" in raw


def _event_of(raw: bytes) -> Any:
    """The JSON of a server-sent event, or None for a comment, [DONE], or anything else."""
    lines = [
        line[5:].removeprefix(b" ")
        for line in raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        if line[:5] == b"data:"
    ]
    try:
        return json.loads(b"\n".join(lines))
    except ValueError:
        return None


def _written(event: dict[str, Any]) -> bytes:
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return f"event: {event.get('type', 'message')}\ndata: {text}\n\n".encode("utf-8", "surrogatepass")


def restored_answer(delta: Delta, vault: Vault, *, json_answer: bool) -> Delta:
    """A whole answer, not streamed, with every original in its place."""
    if delta.raw is not None and not _could_hold_raw(delta.raw):
        return delta
    try:
        body = delta.data if delta.data is not None else json.loads(delta.raw or b"null")
    except ValueError:
        return delta  # audio or another answer that is no JSON
    shown = restored_all(body, vault, json_answer=json_answer)
    if shown is body:
        return delta
    text = restored_all(delta.text, vault, json_answer=False) if could_hold(delta.text) else delta.text
    return Delta(data=shown, form=delta.form, text=text, hidden=delta.hidden, finish=delta.finish, usage=delta.usage)
