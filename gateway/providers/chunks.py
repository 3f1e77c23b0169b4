"""Answers in chat form, whole and streamed, for the adapters that translate into it.

Beside OpenAI's own fields an answer may hold, in the names that others already use for them:

    message.reasoning_content   the reasoning as text
    message.thinking_blocks     the same with what the provider needs to get back on the next turn:
                                {"type": "thinking", "thinking", "signature"} or {"type": "redacted_thinking", "data"}
    message.annotations         url_citation, as OpenAI's own web search gives them
    message.extra_content       {PROVIDER: {...}}: what has no place in the form (hosted tools' blocks, document
                                citations); also on a tool call, e.g. {"google": {"thought_signature": ...}}
    choice.native_finish_reason the provider's own word for why it ended

A message that comes back with these fields is sent to its provider with them, so that nothing is lost.
"""

import time
from typing import Any

from gateway.core.call import Delta, Usage
from gateway.core.halves import Halves


def usage_fields(usage: Usage) -> dict[str, Any]:
    """Usage as OpenAI's `usage` object. Cache writes stand beside cached_tokens, as OpenRouter names them."""
    fields: dict[str, Any] = {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": usage.input_audio},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning, "audio_tokens": usage.output_audio},
    }
    if usage.cache_write or usage.cache_write_long:
        details = fields["prompt_tokens_details"]
        details["cache_write_tokens"] = usage.cache_write + usage.cache_write_long
        details["cache_write_1h_tokens"] = usage.cache_write_long
    return fields


def whole(answer_id: str, model: str, choices: list[dict[str, Any]], usage: Usage, **extra: Any) -> dict[str, Any]:
    """A chat completion that was not streamed."""
    return {
        "id": answer_id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": choices,
        "usage": usage_fields(usage),
        **extra,
    }


def choice(message: dict[str, Any], finish: str, native: str | None, index: int = 0) -> dict[str, Any]:
    """One choice of a whole answer. `message` needs no role; an absent content is null."""
    message = {"role": "assistant", "content": None, "refusal": None} | message
    return {
        "index": index,
        "message": message,
        "logprobs": None,
        "finish_reason": finish,
        "native_finish_reason": native,
    }


def call_fields(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    """A tool call as it stands in a message."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


class Chunks:
    """Writes the deltas of one streamed answer as chat chunks. The first one carries the role."""

    __slots__ = ("begun", "created", "given", "id", "index", "model", "said", "thought", "tools")

    def __init__(self, answer_id: str = "", model: str = "", index: int = 0) -> None:
        self.id, self.model, self.index = answer_id, model, index
        self.created = int(time.time())
        self.begun = False
        self.said, self.thought, self.given = Halves(), Halves(), Halves()
        self.tools = 0  # tool calls begun so far: the next one's index

    def chunk(self, fields: dict[str, Any], finish: str | None = None, native: str | None = None) -> dict[str, Any]:
        """A chunk with one choice."""
        if not self.begun:
            self.begun = True
            fields = {"role": "assistant", "content": None} | fields
        piece: dict[str, Any] = {"index": self.index, "delta": fields, "finish_reason": finish}
        if native is not None:
            piece["native_finish_reason"] = native
        return {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": [piece],
        }

    def text(self, text: str) -> Delta:
        text = self.said.join(text)
        return Delta(data=self.chunk({"content": text}), text=text)

    def reasoning(self, text: str) -> Delta:
        text = self.thought.join(text)
        return Delta(data=self.chunk({"reasoning_content": text}), hidden=text)

    def extra(self, **fields: Any) -> Delta:
        """A delta that counts for nothing: signatures, citations, blocks without a place in the form."""
        return Delta(data=self.chunk(fields))

    def tool(self, call_id: str, name: str, arguments: str = "", **extra: Any) -> Delta:
        """The beginning of a tool call (or the whole of it, where a provider does not stream arguments)."""
        fields = {"index": self.tools, **call_fields(call_id, name, arguments), **extra}
        self.tools += 1
        return Delta(data=self.chunk({"tool_calls": [fields]}), hidden=arguments)

    def arguments(self, text: str, index: int) -> Delta:
        """More arguments of the tool call with this index."""
        text = self.given.join(text)
        return Delta(data=self.chunk({"tool_calls": [{"index": index, "function": {"arguments": text}}]}), hidden=text)

    def finish(self, finish: str, native: str | None, **fields: Any) -> Delta:
        return Delta(data=self.chunk(fields, finish, native), finish=finish)

    def usage(self, usage: Usage, **extra: Any) -> Delta:
        """The last chunk, which only a caller who asked for usage sees."""
        data = {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": [],
            "usage": usage_fields(usage),
            **extra,
        }
        return Delta(data=data, usage=usage, usage_only=True)
