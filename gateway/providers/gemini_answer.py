"""Gemini's answers read, whole and streamed, into chat form.

Their promptTokenCount includes what was cached, but not what hosted tools put in (toolUsePromptTokenCount); ours
includes both. Their candidatesTokenCount leaves out the thoughts, ours includes them. So input and output
add up to their totalTokenCount. Source: https://ai.google.dev/api/generate-content and the recordings.
"""

from typing import Any

import msgspec

from gateway.core.call import Delta, Usage
from gateway.core.errors import UpstreamError
from gateway.core.halves import decode_object
from gateway.providers import chunks
from gateway.providers.chunks import Chunks
from gateway.providers.failures import failure
from gateway.providers.reading import EventReader, broken

REFUSALS = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
        "JAILBREAK",
    }
)


def usage(fields: dict[str, Any] | None) -> Usage:
    """Their usageMetadata in our vocabulary."""
    fields = fields or {}
    spent = by_modality(fields.get("promptTokensDetails"))
    made = by_modality(fields.get("candidatesTokensDetails"))
    thoughts = fields.get("thoughtsTokenCount") or 0
    return Usage(
        input=(fields.get("promptTokenCount") or 0) + (fields.get("toolUsePromptTokenCount") or 0),
        cached=fields.get("cachedContentTokenCount") or 0,
        input_audio=spent.get("AUDIO", 0),
        input_image=spent.get("IMAGE", 0),
        output=(fields.get("candidatesTokenCount") or 0) + thoughts,
        reasoning=thoughts,
        output_audio=made.get("AUDIO", 0),
        output_image=made.get("IMAGE", 0),
        service_tier=fields.get("serviceTier") or "",
    )


def by_modality(details: list[dict[str, Any]] | None) -> dict[str, int]:
    return {one.get("modality", ""): one.get("tokenCount") or 0 for one in details or []}


def finish(reason: str | None, *, calls: bool) -> str:
    """Their finishReason in OpenAI's words: with function calls theirs is STOP as well."""
    if reason in REFUSALS:
        return "content_filter"
    if calls:
        return "tool_calls"
    return "length" if reason == "MAX_TOKENS" else "stop"


def blocked(answer: dict[str, Any]) -> tuple[str, str] | None:
    """Why the prompt was not answered at all, as (their reason, a text), or None."""
    feedback = answer.get("promptFeedback") or {}
    reason = feedback.get("blockReason")
    if not reason:
        return None
    return reason, feedback.get("blockReasonMessage") or f"The prompt was blocked: {reason}."


class Parts:
    """Sorts a candidate's parts into what chat has for them. One for each candidate of an answer."""

    def __init__(self, answer_id: str) -> None:
        self.id = answer_id
        self.calls = 0

    def call(self, part: dict[str, Any]) -> dict[str, Any]:
        """A function call. Where they give no id, one is made of the answer's id and its place."""
        given = part["functionCall"]
        call_id = given.get("id") or f"call_{self.id}_{self.calls}"
        self.calls += 1
        arguments = msgspec.json.encode(given.get("args") or {}).decode()
        fields = chunks.call_fields(call_id, given.get("name") or "", arguments)
        if part.get("thoughtSignature"):
            fields["extra_content"] = {"google": {"thought_signature": part["thoughtSignature"]}}
        return fields


def image(part: dict[str, Any]) -> dict[str, Any] | None:
    """An image that the model made, as others give it in chat form; None for data of another kind."""
    data = part.get("inlineData") or {}
    if not str(data.get("mimeType", "")).startswith("image/"):
        return None
    return {"type": "image_url", "image_url": {"url": f"data:{data['mimeType']};base64,{data.get('data', '')}"}}


def message(candidate: dict[str, Any], answer_id: str) -> dict[str, Any]:
    """A whole candidate as the fields of a chat message."""
    reader = Parts(answer_id)
    text: list[str] = []
    reasoning: list[str] = []
    calls: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    extra: dict[str, Any] = {}
    for part in (candidate.get("content") or {}).get("parts") or []:
        if "functionCall" in part:
            calls.append(reader.call(part))
        elif "text" in part:
            (reasoning if part.get("thought") else text).append(part["text"])
            if part.get("thoughtSignature"):
                extra["thought_signature"] = part["thoughtSignature"]
        elif made := image(part):
            images.append(made)
        else:
            extra.setdefault("parts", []).append(part)
    extra |= beside(candidate)
    fields: dict[str, Any] = {"content": "".join(text) if text else None}
    if reasoning:
        fields["reasoning_content"] = "".join(reasoning)
    if calls:
        fields["tool_calls"] = calls
    if images:
        fields["images"] = images
    if found := annotations(candidate, fields["content"] or ""):
        fields["annotations"] = found
    if extra:
        fields["extra_content"] = {"google": extra}
    return fields


def beside(candidate: dict[str, Any]) -> dict[str, Any]:
    """What stands beside a candidate's content, under the names of Google's own OpenAI form."""
    names = {
        "groundingMetadata": "grounding_metadata",
        "urlContextMetadata": "url_context_metadata",
        "safetyRatings": "safety_ratings",
        "citationMetadata": "citation_metadata",
    }
    return {ours: candidate[theirs] for theirs, ours in names.items() if candidate.get(theirs)}


def annotations(candidate: dict[str, Any], text: str) -> list[dict[str, Any]]:
    """Grounding as OpenAI's url_citation. Their places are counted in UTF-8 bytes, OpenAI's in characters."""
    grounding = candidate.get("groundingMetadata") or {}
    sources = grounding.get("groundingChunks") or []
    raw = text.encode()
    found = []
    for support in grounding.get("groundingSupports") or []:
        segment = support.get("segment") or {}
        start = len(raw[: segment.get("startIndex") or 0].decode("utf-8", "ignore"))
        end = len(raw[: segment.get("endIndex") or 0].decode("utf-8", "ignore"))
        for place in support.get("groundingChunkIndices") or []:
            web = sources[place].get("web") if place < len(sources) else None
            if web and web.get("uri"):
                citation = {"url": web["uri"], "title": web.get("title") or "", "start_index": start, "end_index": end}
                found.append({"type": "url_citation", "url_citation": citation})
    return found


def logprobs(candidate: dict[str, Any]) -> dict[str, Any] | None:
    """Their logprobsResult as OpenAI's."""
    result = candidate.get("logprobsResult")
    if not result:
        return None
    tops = result.get("topCandidates") or []
    found = []
    for index, chosen in enumerate(result.get("chosenCandidates") or []):
        top = tops[index].get("candidates") or [] if index < len(tops) else []
        found.append(token(chosen) | {"top_logprobs": [token(one) for one in top]})
    return {"content": found, "refusal": None}


def token(one: dict[str, Any]) -> dict[str, Any]:
    text = one.get("token") or ""
    return {"token": text, "logprob": one.get("logProbability") or 0.0, "bytes": list(text.encode())}


def whole(answer: dict[str, Any]) -> Delta:
    """A whole answer as a chat completion. Raises KeyError and its like where it is none."""
    answer_id = answer.get("responseId") or ""
    spent = usage(answer.get("usageMetadata"))
    choices: list[dict[str, Any]] = []
    if (block := blocked(answer)) and not answer.get("candidates"):
        choices.append(chunks.choice({"refusal": block[1]}, "content_filter", block[0]))
    elif not answer["candidates"]:
        raise ValueError("no candidates")
    for place, candidate in enumerate(answer.get("candidates") or []):
        reason = candidate.get("finishReason")
        fields = message(candidate, answer_id)
        one = chunks.choice(fields, finish(reason, calls="tool_calls" in fields), reason, candidate.get("index", place))
        one["logprobs"] = logprobs(candidate)
        choices.append(one)
    data = chunks.whole(answer_id, answer.get("modelVersion") or "", choices, spent)
    said = [one["message"] for one in choices]
    return Delta(
        data=data,
        text="".join((fields["content"] or "") + (fields["refusal"] or "") for fields in said),
        hidden="".join(
            (fields.get("reasoning_content") or "")
            + "".join(call["function"]["arguments"] for call in fields.get("tool_calls") or [])
            for fields in said
        ),
        finish=choices[0]["finish_reason"],
        usage=spent,
    )


def stream_error(error: dict[str, Any]) -> UpstreamError:
    """The error that an event with `error` tells."""
    return failure(int(error.get("code") or 500), {}, str(error.get("message") or ""), error_type=error.get("status"))


class ChatReader(EventReader):
    """Their stream as chat chunks. Each event is a part of an answer with the usage so far.

    Their stream has no last event: it is whole when every candidate that began has a finishReason.
    """

    __slots__ = ("chunks", "open", "parts", "reported", "text")

    def __init__(self) -> None:
        super().__init__()
        self.chunks: dict[int, Chunks] = {}
        self.parts: dict[int, Parts] = {}
        self.open: set[int] = set()
        self.text: dict[int, str] = {}
        self.reported: dict[str, Any] = {}

    def event(self, raw: bytes, name: str, data: bytes) -> list[Delta]:
        if not data:
            return []
        try:
            event = decode_object(data)
            if "error" in event:
                raise stream_error(event["error"])
            self.reported = event.get("usageMetadata") or self.reported  # each event tells all; the last one counts
            deltas: list[Delta] = []
            for candidate in event.get("candidates") or []:
                deltas += self.candidate(candidate, event)
            if (block := blocked(event)) and not self.chunks:
                deltas.append(self.begin(0, event).finish("content_filter", block[0], refusal=block[1]))
                self.done = True
            if deltas:
                deltas[-1].usage = usage(self.reported)
            return deltas
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise broken("gemini", error) from error

    def begin(self, index: int, event: dict[str, Any]) -> Chunks:
        """The writer of this candidate's chunks."""
        if index not in self.chunks:
            answer_id = event.get("responseId") or ""
            self.chunks[index] = Chunks(answer_id, event.get("modelVersion") or "", index)
            self.parts[index] = Parts(answer_id)
            self.text[index] = ""
            self.open.add(index)
        return self.chunks[index]

    def candidate(self, candidate: dict[str, Any], event: dict[str, Any]) -> list[Delta]:
        index = candidate.get("index") or 0
        writer = self.begin(index, event)
        deltas = [
            delta
            for part in (candidate.get("content") or {}).get("parts") or []
            for delta in self.part(part, index, writer)
        ]
        fields: dict[str, Any] = {}
        if found := beside(candidate):
            fields["extra_content"] = {"google": found}
        if cited := annotations(candidate, self.text[index]):
            fields["annotations"] = cited
        reason = candidate.get("finishReason")
        if reason and index in self.open:
            self.open.discard(index)
            self.done = not self.open
            deltas.append(writer.finish(finish(reason, calls=self.parts[index].calls > 0), reason, **fields))
        elif fields:
            deltas.append(writer.extra(**fields))
        if deltas and (odds := logprobs(candidate)):
            deltas[-1].data["choices"][0]["logprobs"] = odds
        return deltas

    def part(self, part: dict[str, Any], index: int, writer: Chunks) -> list[Delta]:
        if "functionCall" in part:
            call = self.parts[index].call(part)
            extra = {"extra_content": call["extra_content"]} if "extra_content" in call else {}
            return [writer.tool(call["id"], call["function"]["name"], call["function"]["arguments"], **extra)]
        if "text" in part:
            if part.get("thought"):
                return [writer.reasoning(part["text"])]
            deltas = [writer.text(part["text"])] if part["text"] else []
            self.text[index] += "".join(delta.text for delta in deltas)
            if part.get("thoughtSignature"):
                signature = {"thought_signature": part["thoughtSignature"]}
                deltas.append(writer.extra(extra_content={"google": signature}))
            return deltas
        if made := image(part):
            return [writer.extra(images=[made])]
        return [writer.extra(extra_content={"google": {"parts": [part]}})]

    def end(self) -> list[Delta]:
        deltas = super().end()
        return [*deltas, self.chunks[min(self.chunks)].usage(usage(self.reported))]
