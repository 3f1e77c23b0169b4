"""Whether an answer in OpenAI's form is what its readers count on, before it is written in another form.

Answers that pass through are not looked at: their callers get what their provider sent.
"""

from typing import Any

from gateway.core.errors import UpstreamBroken

NONE = type(None)
TEXT, NUMBER, WHOLE, OBJECT = (str, NONE), (int, float, NONE), (int, NONE), (dict, NONE)
TEXTS = ("refusal", "reasoning_content", "reasoning")
LISTS = ("annotations", "thinking_blocks")


def sound(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer, or a chunk of one. Raises UpstreamBroken where it holds something else than its form says."""
    get = answer.get
    choices = get("choices")
    fits = isinstance(get("usage"), OBJECT) and isinstance(get("created"), NUMBER) and is_objects(choices)
    if not fits or not all(map(is_choice, choices or ())):
        raise UpstreamBroken("The provider's answer can't be read: it is not what its form says.", kind="bad_answer")
    return answer


def is_choice(choice: dict[str, Any]) -> bool:
    get = choice.get
    message = get("message") or get("delta") or {}
    if not isinstance(get("finish_reason"), TEXT) or not isinstance(get("native_finish_reason"), TEXT):
        return False
    logprobs = get("logprobs")
    if logprobs is not None and not (isinstance(logprobs, dict) and is_objects(logprobs.get("content"))):
        return False
    return isinstance(message, dict) and is_message(message)


def is_message(message: dict[str, Any]) -> bool:
    content = message.get("content")
    if type(content) is str and len(message) <= 2 and message.keys() <= {"content", "role"}:
        return True  # nearly every chunk
    if isinstance(content, list):
        if not is_objects(content) or not all(isinstance(part.get("text"), TEXT) for part in content):
            return False
    elif not isinstance(content, TEXT):
        return False
    return (
        all(isinstance(message.get(name), TEXT) for name in TEXTS)
        and all(is_objects(message.get(name)) for name in LISTS)
        and are_calls(message.get("tool_calls"))
    )


def are_calls(calls: Any) -> bool:
    if not is_objects(calls):
        return False
    for call in calls or ():
        if not isinstance(call.get("index"), WHOLE) or not isinstance(call.get("id"), TEXT):
            return False
        for kind in ("function", "custom"):
            inner = call.get(kind)
            if not isinstance(inner, OBJECT):
                return False
            if inner and not all(isinstance(inner.get(name), TEXT) for name in ("name", "input", "arguments")):
                return False
    return True


def is_objects(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(each, dict) for each in value))
