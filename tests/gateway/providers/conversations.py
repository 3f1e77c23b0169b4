"""Random conversations in chat form, and what of them must survive a translation."""

import base64
import json
from typing import Any

from hypothesis import strategies as st

words = st.text(max_size=40) | st.sampled_from(["", "  ", "a\u2028b", "naïve 🙂 \u0000", "data: x\n\n"])
names = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
images = st.binary(min_size=1, max_size=30).map(
    lambda data: {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(data).decode()}"}}
)
files = st.binary(min_size=1, max_size=30).map(
    lambda data: {
        "type": "file",
        "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{base64.b64encode(data).decode()}"},
    }
)
texts = words.map(lambda text: {"type": "text", "text": text})


@st.composite
def turns(draw: st.DrawFn, number: int, *, media: bool) -> list[dict[str, Any]]:
    """A user's turn and the answer to it, with parallel tool calls and their results."""
    parts = st.lists(texts | images | files if media else texts, max_size=3)
    found: list[dict[str, Any]] = [{"role": "user", "content": draw(words | parts)}]
    calls = [
        {
            "id": f"call_{number}_{index}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(draw(st.dictionaries(names, values, max_size=3)))},
        }
        for index, name in enumerate(draw(st.lists(names, max_size=3)))
    ]
    answer: dict[str, Any] = {"role": "assistant", "content": draw(st.none() | words)}
    if calls:
        answer["tool_calls"] = calls
    found.append(answer)
    return found + [{"role": "tool", "tool_call_id": call["id"], "content": draw(words)} for call in calls]


@st.composite
def conversations(draw: st.DrawFn, *, media: bool = True) -> list[dict[str, Any]]:
    found = [{"role": "system", "content": draw(words)}] if draw(st.booleans()) else []
    for number in range(draw(st.integers(0, 3))):
        found += draw(turns(number, media=media))
    return [*found, {"role": "user", "content": "go on" + draw(words)}]


def essence(messages: list[dict[str, Any]], *, ids: bool = True) -> list[tuple[Any, ...]]:
    """What was said, call by call: roles with all their text, media, calls with arguments, and results.

    Texts without a word say nothing, so white space is left out; neighbours of one role are one turn.
    """
    found: list[tuple[Any, ...]] = []
    for message in messages:
        role = message["role"]
        content = message.get("content")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        call_id = message.get("tool_call_id") if ids else None
        for part in parts:
            if part["type"] == "text" and not "".join(part["text"].split()):
                continue
            said = "".join(part["text"].split()) if part["type"] == "text" else media_of(part)
            kind = "text" if part["type"] == "text" else "media"
            if kind == "text" and found and found[-1][:3] == (role, "text", call_id):
                found[-1] = (role, "text", call_id, found[-1][3] + said)
            else:
                found.append((role, kind, call_id, said))
        for call in message.get("tool_calls") or []:
            given = json.loads(call["function"]["arguments"])
            found.append((role, "call", call["id"] if ids else None, (call["function"]["name"], given)))
    return found


def media_of(part: dict[str, Any]) -> str:
    if part["type"] == "image_url":
        return part["image_url"]["url"]
    return part["file"].get("file_data") or part["file"].get("file_url")
