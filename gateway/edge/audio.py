"""OpenAI's speech, transcriptions and translations.

A transcription comes as multipart/form-data. Its fields become the call's body, the recording in it as
`file: {"filename", "content_type", "data"}` with `data` in bytes; the adapter writes them out as multipart again.
"""

import re
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core import sse
from gateway.core.errors import InvalidRequest
from gateway.edge.controls import NAMES, USER
from gateway.edge.errors import encode_openai_error
from gateway.edge.plain import Plain

if TYPE_CHECKING:
    from gateway.core.call import Call, Delta
    from gateway.core.errors import GatewayError

BOUNDARY = re.compile(r"boundary=(?:\"([^\"]{1,70})\"|([^\s;,]{1,70}))", re.IGNORECASE)
PARAMETER = re.compile(r"\b(name|filename)=\"((?:[^\"\\]|\\.)*)\"", re.IGNORECASE)
FIELDS_MOST = 100
MULTIPART_FORMS = frozenset({"audio_transcriptions", "audio_translations"})
JSON_TYPE = b"application/json"
EVENTS = b"text/event-stream"
SAFE_TYPE = re.compile(
    r"(audio/[\w.+-]{1,60}|text/event-stream|text/plain|text/vtt|application/(json|x-subrip|octet-stream))"
    r"(; ?[\w-]{1,20}=[\w.-]{1,40}){0,3}",
    re.IGNORECASE,
)
SPEECH_TYPES = {
    "mp3": b"audio/mpeg",
    "opus": b"audio/ogg",
    "aac": b"audio/aac",
    "flac": b"audio/flac",
    "wav": b"audio/wav",
    "pcm": b"audio/pcm",
}
TEXT_TYPES = {"text": b"text/plain; charset=utf-8", "srt": b"application/x-subrip", "vtt": b"text/vtt; charset=utf-8"}


class Audio(Plain):
    """One of the three forms under /v1/audio. Sound and streamed transcripts are written as they come."""

    def writer(self, call: "Call") -> "PieceWriter":
        return PieceWriter(call)


class PieceWriter:
    """Writes what the provider sends, unchanged. An answer that its first piece holds whole waits for its cost."""

    def __init__(self, call: "Call") -> None:
        self.call = call
        self.held = b""

    def delta(self, delta: "Delta") -> bytes:
        raw = delta.raw or b""
        if self.call.answer_bytes is not None and len(raw) == self.call.answer_bytes:
            self.held = raw
            return b""
        return raw

    def end(self) -> bytes:
        return self.held

    def error(self, error: "GatewayError") -> bytes:
        """An event that says so, where there are events. Sound can only break off."""
        return sse.encode(encode_openai_error(error)) if media_type(self.call).startswith(EVENTS) else b""


def media_type(call: "Call") -> bytes:
    """What the body of an answer is: what its provider says, if that is sound, events or text, else what was asked."""
    if call.answer_type and SAFE_TYPE.fullmatch(call.answer_type):
        return call.answer_type.encode()
    wanted = str(call.body.get("response_format") or "")
    if call.stream and call.form.name in MULTIPART_FORMS:
        return EVENTS + b"; charset=utf-8"
    if call.form.name == "audio_speech" and call.body.get("stream_format") == "sse":
        return EVENTS + b"; charset=utf-8"
    if call.form.name == "audio_speech":
        return SPEECH_TYPES.get(wanted or "mp3", b"application/octet-stream")
    if call.form.name in MULTIPART_FORMS:
        return TEXT_TYPES.get(wanted, JSON_TYPE)
    return JSON_TYPE


def form_fields(body: bytes, content_type: str) -> dict[str, Any]:
    """The fields of a multipart body. Raises InvalidRequest where it is none, or lacks a file.

    A name that ends in [] may stand several times and becomes a list; any other only once. Call controls are read as
    the JSON that they would be elsewhere.
    """
    boundary = boundary_of(content_type)
    parts = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if len(parts) < 2 or not parts[-1].startswith(b"--") or len(parts) > FIELDS_MOST:
        raise InvalidRequest("The multipart body does not end, or holds too many fields.")
    fields: dict[str, Any] = {}
    for part in parts[1:-1]:
        add_field(fields, *field_of(part))
    return checked(fields)


def boundary_of(content_type: str) -> bytes:
    """What divides a multipart body. Raises InvalidRequest where it is none."""
    found = BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/form-data") or found is None:
        raise InvalidRequest("This endpoint takes multipart/form-data.", param="content-type")
    return str(found[1] or found[2]).encode("latin-1")


def add_field(fields: dict[str, Any], name: str, value: Any) -> None:
    """Put one more field of a multipart body to the others. Raises InvalidRequest where it stood there before."""
    if name.endswith("[]"):
        fields.setdefault(name, []).append(value)
    elif name in fields:
        raise InvalidRequest(f"The field {name} stands in the body twice.", param=name)
    else:
        fields[name] = control(value) if name in NAMES and name not in (*USER, "prompt") else value


def checked(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with `stream` as a boolean. Raises InvalidRequest where there is no recording."""
    if not isinstance(fields.get("file"), dict):
        raise InvalidRequest("The body must hold the recording, as a file in the field `file`.", param="file")
    if "stream" in fields:
        fields["stream"] = fields["stream"] == "true"
    return fields


def field_of(part: bytes) -> tuple[str, Any]:
    """The name and value of one part: a text, or a file as an object."""
    head, blank, value = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    headers = {}
    for line in head.split(b"\r\n"):
        name, _, rest = line.decode("utf-8", "replace").partition(":")
        headers[name.strip().lower()] = rest.strip()
    named = {key.lower(): given for key, given in PARAMETER.findall(headers.get("content-disposition", ""))}
    if not blank or "name" not in named:
        raise InvalidRequest("A part of the multipart body has no name.")
    if "filename" in named:
        kind = headers.get("content-type", "application/octet-stream")
        return named["name"], {"filename": named["filename"], "content_type": kind, "data": value}
    try:
        return named["name"], value.decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"The field {named['name']} is no UTF-8 text.", param=named["name"]) from None


def control(value: Any) -> Any:
    """A control's JSON value from its text; a text that is no JSON stays one."""
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, TypeError):
        return value
