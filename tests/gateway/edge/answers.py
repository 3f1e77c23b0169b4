"""What recorded answers hold, in the words of chat completions, to compare with what an SDK read through a form."""

import json
from typing import Any

from tests.recorded import exchanges

NO_ANSWER = ("11654f719979", "20b189af6270")  # a server of another kind that echoes its request
ERROR_IN_STREAM = "5c014576eeff"


def recorded(*, streamed: bool) -> list[dict[str, Any]]:
    """Answered exchanges in OpenAI's chat form."""
    rows = [*exchanges("openai_chat"), *exchanges("compatible_chat")]
    left_out = (*NO_ANSWER, ERROR_IN_STREAM)
    return [
        each for each in rows if (each["status"], each["streamed"]) == (200, streamed) and each["id"] not in left_out
    ]


def held(exchange: dict[str, Any]) -> tuple[str, str, list[tuple[str, Any]], str, int, int]:
    """(text, reasoning, tool calls by name with their arguments, finish, input and output tokens)."""
    if not exchange["streamed"]:
        answer = json.loads(exchange["response"])
        messages, usage = [(answer["choices"][0], answer["choices"][0].get("message") or {})], answer["usage"]
    else:
        lines = exchange["response"].splitlines()
        chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        usage = [chunk["usage"] for chunk in chunks if chunk.get("usage")][-1]
        messages = [(choice, choice["delta"]) for chunk in chunks for choice in chunk["choices"]]
    text = "".join((m.get("content") or "") + (m.get("refusal") or "") for _, m in messages)
    thought = "".join(m.get("reasoning_content") or m.get("reasoning") or "" for _, m in messages)
    calls: dict[int, list[str]] = {}
    for _, message in messages:
        found = list(message.get("tool_calls") or ())
        if function := message.get("function_call"):
            found.append({"function": function})
        for index, call in enumerate(found):
            held = calls.setdefault(call.get("index", index), ["", ""])
            inner = call.get("function") or call.get("custom")
            held[0] += inner.get("name") or ""
            held[1] += inner.get("arguments") or inner.get("input") or ""
    finish = [choice.get("finish_reason") for choice, _ in messages if choice.get("finish_reason")]
    named = [(name, value) for name, value in calls.values()]
    return text, thought, named, (finish or [""])[-1], usage["prompt_tokens"], usage["completion_tokens"]
