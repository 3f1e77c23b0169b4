"""Answers that pass through as they come: speech, and transcripts that a provider tells event by event.

A transcript's events are `transcript.text.delta`, with a piece of the text, and at the end `transcript.text.done`, with
the whole of it and the usage. Older models know no streams and answer in one piece, whatever they are asked.
Source: https://platform.openai.com/docs/api-reference/audio
"""

from typing import Any

import msgspec

from gateway.core.call import Delta, Target
from gateway.core.errors import UpstreamBroken, UpstreamUnavailable
from gateway.providers.openai_answers import ErrorOf, answer_of, fields_of, status_of, usage_of
from gateway.providers.reading import EventReader, broken

LARGEST_WHOLE_BYTES = 32 * 1024 * 1024
LONGEST_FIELD_BYTES = 6
EVENT_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
BOM = b"\xef\xbb\xbf"


class SoundReader:
    """Gives out what comes. The connection's own end is the only one that sound has; see providers.base.Reader."""

    def __init__(self, form: str) -> None:
        self.form = form

    def feed(self, chunk: bytes) -> list[Delta]:
        return [Delta(chunk, form=self.form)] if chunk else []

    def end(self) -> list[Delta]:
        return []


class TranscriptReader(EventReader):
    """Reads a transcript's events, or an answer that came whole although a stream was asked for."""

    __slots__ = ("begun", "error", "form", "spoke", "target", "whole")

    def __init__(self, form: str, target: Target, error: ErrorOf) -> None:
        super().__init__()
        self.form, self.target, self.error = form, target, error
        self.begun = self.spoke = False
        self.whole: bytearray | None = bytearray()  # None once it is known that events come

    def feed(self, chunk: bytes) -> list[Delta]:
        if self.whole is None:
            return super().feed(chunk)
        self.whole += chunk
        if not self.begun:
            head = bytes(self.whole[:64]).removeprefix(BOM).lstrip(b"\r\n")
            if head.startswith(EVENT_FIELDS):
                chunk, self.whole = bytes(self.whole), None
                return super().feed(chunk)
            self.begun = len(head) >= LONGEST_FIELD_BYTES
        if len(self.whole) > LARGEST_WHOLE_BYTES:
            raise UpstreamUnavailable("the provider's answer is too long", kind="bad_answer")
        return []

    def end(self) -> list[Delta]:
        if self.whole is None:
            return super().end()
        self.done = True
        return [answer_of(bytes(self.whole), self.form, self.target, self.error)]

    def event(self, raw: bytes, name: str, data: bytes) -> list[Delta]:
        if not data or data.strip() == b"[DONE]":
            return [Delta(raw, form=self.form)]
        try:
            event: Any = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise broken(self.target.provider, error) from None
        event = fields_of(event)
        delta = Delta(raw, form=self.form)
        if (failed := event.get("error")) or event.get("type") == "error":
            meant = self.error(status_of(failed or event), {}, msgspec.json.encode({"error": failed or event}))
            if not self.spoke:
                raise meant
            raise UpstreamBroken(meant.message, kind=meant.kind, status=meant.upstream_status, body=meant.body)
        if event.get("type") == "transcript.text.delta":
            delta.text = event["delta"] if isinstance(event.get("delta"), str) else ""
            self.spoke = True
        elif event.get("type") == "transcript.text.done":
            self.done, delta.finish = True, "stop"
            if isinstance(usage := event.get("usage"), dict):
                delta.usage = usage_of(usage)
        return [delta]
