"""The quick reader of ordinary answers reads what the thorough one reads, or leaves the answer to it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Delta
from gateway.providers.openai_answers import decode, read_whole
from gateway.providers.openai_plain import read_plain
from tests.recorded import exchanges

WHOLE = [
    each
    for name in ("openai_chat", "compatible_chat", "mistral_chat", "azure_chat")
    for each in exchanges(name)
    if each["status"] == 200 and not each["streamed"] and each["response"].startswith("{")
]


def thorough(body: bytes) -> Delta:
    delta = Delta(raw=body)
    read_whole(decode(body), delta)
    return delta


def seen(delta: Delta) -> tuple[Any, ...]:
    return (delta.text, delta.hidden, delta.finish, delta.usage)


@pytest.mark.parametrize("exchange", WHOLE, ids=[each["id"] for each in WHOLE])
def test_a_recorded_answer_is_read_the_same_by_both(exchange: dict[str, Any]) -> None:
    body = exchange["response"].encode()
    delta = Delta(raw=body)
    if read_plain(body, delta):
        assert seen(delta) == seen(thorough(body))
    else:
        assert seen(delta) == ("", "", None, None)


def test_most_recorded_answers_are_ordinary() -> None:
    ordinary = [each for each in WHOLE if read_plain(each["response"].encode(), Delta())]
    assert len(ordinary) > len(WHOLE) * 0.6


odd = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3) | st.just([]) | st.just({})


@given(st.lists(st.tuples(st.sampled_from(range(12)), odd), max_size=3))
def test_an_answer_bent_anywhere_is_read_the_same_or_left_alone(bends: list[tuple[int, Any]]) -> None:
    answer: dict[str, Any] = {
        "choices": [{"message": {"content": "hi", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}},
    }
    choice, usage = answer["choices"][0], answer["usage"]
    places = [
        (choice, "finish_reason"), (choice, "message"), (choice["message"], "content"), (choice["message"], "refusal"),
        (choice["message"], "reasoning"), (choice["message"], "tool_calls"), (usage, "prompt_tokens"),
        (usage, "completion_tokens"), (usage, "prompt_tokens_details"), (usage, "cached_tokens"),
        (usage["prompt_tokens_details"], "cached_tokens"), (answer, "error"),
    ]  # fmt: skip
    for place, value in bends:
        where, name = places[place]
        where[name] = value
    body = json.dumps(answer).encode()
    delta = Delta(raw=body)
    if read_plain(body, delta):
        assert seen(delta) == seen(thorough(body))
