"""Reading an ordinary chat completion in one typed pass: what nearly every answer is, at a tenth of the cost.

Whatever is not ordinary (content in parts, another server's names for cached tokens, a field of another type) is left
to openai_answers, which takes any shape. Both read the same: a test holds them together over every recording.
"""

from typing import Any

import msgspec

from gateway.core.call import Delta, Usage


class Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct):
    function: Function | None = None
    custom: Any = None


class Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Any = None


class Choice(msgspec.Struct):
    message: Message
    finish_reason: str | None = None
    delta: Any = None
    text: Any = None


class Asked(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class Said(msgspec.Struct):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class Used(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: Asked | None = None
    completion_tokens_details: Said | None = None
    # Other servers' names: where one of them is there, the answer is not ordinary.
    prompt_cache_hit_tokens: Any = None
    num_cached_tokens: Any = None
    cached_tokens: Any = None
    server_tool_use: Any = None
    server_tool_use_details: Any = None
    input_tokens: Any = None
    output_tokens: Any = None
    input_tokens_details: Any = None
    output_tokens_details: Any = None
    input_token_details: Any = None


class Answer(msgspec.Struct):
    choices: list[Choice]
    usage: Used
    error: Any = None


decode = msgspec.json.Decoder(Answer).decode


def read_plain(body: bytes, delta: Delta) -> bool:
    """Put an ordinary answer's text, finish and usage into `delta`. False, with nothing done, when it isn't ordinary."""
    try:
        answer = decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    used = answer.usage
    if answer.error or not is_ordinary(used):
        return False
    text = hidden = ""
    finish = None
    for choice in answer.choices:
        message = choice.message
        if message.function_call is not None or choice.text is not None or choice.delta is not None:
            return False
        if message.content:
            text += message.content
        if message.refusal:
            text += message.refusal
        if thoughts := message.reasoning_content or message.reasoning:
            hidden += thoughts
        for call in message.tool_calls or ():
            if call.custom is not None or call.function is None:
                return False
            hidden += (call.function.name or "") + (call.function.arguments or "")
        if choice.finish_reason is not None:
            finish = choice.finish_reason
    delta.text, delta.hidden, delta.finish = text, hidden, finish
    delta.usage = usage_of(used)
    return True


def is_ordinary(used: Used) -> bool:
    return (
        used.prompt_tokens > 0
        and used.completion_tokens >= 0
        and used.prompt_cache_hit_tokens is None
        and used.num_cached_tokens is None
        and used.cached_tokens is None
        and used.server_tool_use is None
        and used.server_tool_use_details is None
        and used.input_tokens is None
        and used.output_tokens is None
        and used.input_tokens_details is None
        and used.output_tokens_details is None
        and used.input_token_details is None
    )


def usage_of(used: Used) -> Usage:
    usage = Usage(input=used.prompt_tokens, output=used.completion_tokens)
    if (asked := used.prompt_tokens_details) is not None:
        usage.cached = positive(asked.cached_tokens)
        usage.cache_write = positive(asked.cache_write_tokens)
        usage.input_audio = positive(asked.audio_tokens)
        usage.input_image = positive(asked.image_tokens)
    if (said := used.completion_tokens_details) is not None:
        usage.reasoning = positive(said.reasoning_tokens)
        usage.output_audio = positive(said.audio_tokens)
        usage.output_image = positive(said.image_tokens)
    return usage


def positive(count: int | None) -> int:
    return count if count is not None and count > 0 else 0
