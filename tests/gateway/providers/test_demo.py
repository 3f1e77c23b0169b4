import json
import math

import pytest

from gateway.core.call import Target
from gateway.core.errors import UpstreamBroken
from gateway.providers import demo, demo_answers
from gateway.providers.demo import Demo, respond

TARGET = Target(model="demo", provider="demo", kind="demo", base_url="", upstream="demo-1")


@pytest.fixture
def no_pauses(monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(demo.asyncio, "sleep", sleep)
    return slept


def asked(text: str, **more) -> dict:
    return {"messages": [{"role": "user", "content": text}], **more}


async def whole(body: dict, form: str = "chat"):
    status, headers, chunks = await respond(Demo().request(body, form, TARGET, stream=False))
    return status, headers, b"".join([chunk async for chunk in chunks])


async def streamed(body: dict) -> list:
    status, _, chunks = await respond(Demo().request(body, "chat", TARGET, stream=True))
    assert status == 200
    reader = Demo().reader("chat", TARGET)
    deltas = [delta async for chunk in chunks for delta in reader.feed(chunk)]
    return deltas + reader.end()


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is the capital of France?", "The capital of France is Paris."),
        ("[fast] 12 + 30 please", "12 + 30 is 42."),
        ("Say: good morning", "good morning"),
        ("Summarise:\nThe cat sat. It slept.", "The cat sat."),
        ("hello", "Hello! I am the demo provider of this gateway. Ask me something."),
    ],
)
async def test_whole_and_streamed_it_says_the_same_and_reports_the_same_usage(no_pauses, question, answer):
    status, headers, body = await whole(asked(question))
    read = Demo().answer(body, "chat", TARGET)
    deltas = await streamed(asked(question))

    assert (status, headers["content-type"], read.text, read.finish) == (200, "application/json", answer, "stop")
    assert "".join(delta.text for delta in deltas) == answer
    assert [delta.usage for delta in deltas if delta.usage] == [read.usage]
    assert read.usage.output == len(demo_answers.pieces(answer))


async def test_it_streams_at_the_pace_that_is_asked_for(no_pauses):
    await streamed(asked("Say: one two three"))
    assert set(no_pauses) == {0.0, demo.WORD_SECONDS}
    no_pauses.clear()
    await streamed(asked("[slow] Say: one"))
    assert set(no_pauses) == {demo.SLOW_START_SECONDS, demo.SLOW_WORD_SECONDS}
    no_pauses.clear()
    await streamed(asked("[fast] Say: one"))
    assert set(no_pauses) == {0.0}


@pytest.mark.parametrize(("mark", "status"), [("[fail 500]", 500), ("[fail 429]", 429), ("[fail 418]", 418)])
async def test_it_fails_with_the_status_it_is_told(mark, status):
    got, headers, body = await whole(asked(f"{mark} hello"))
    error = Demo().error(got, headers, body)
    assert (error.status, error.code, error.retry_after) == (status, f"demo_{status}", 1.0 if status == 429 else None)


async def test_it_breaks_off_in_the_middle_when_told(no_pauses):
    with pytest.raises(UpstreamBroken):
        await streamed(asked("[cut] Say: one two three four"))


async def test_it_stops_at_the_limit_and_at_a_stop_word(no_pauses):
    body = (await whole(asked("Say: one two three four", max_tokens=2)))[2]
    limited = Demo().answer(body, "chat", TARGET)
    body = (await whole(asked("Say: one two three four", stop=["three"])))[2]
    stopped = Demo().answer(body, "chat", TARGET)
    assert [(each.text, each.finish) for each in (limited, stopped)] == [("one two", "length"), ("one two ", "stop")]


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
            "required": ["city", "days"],
        },
    },
}


async def test_it_calls_a_tool_that_the_text_speaks_of_and_says_what_the_tool_answered(no_pauses):
    question = asked("What is the weather in Cape Town for 3 days?", tools=[WEATHER])
    deltas = await streamed(question)
    answer = json.loads((await whole(question))[2])
    [call] = answer["choices"][0]["message"]["tool_calls"]
    question["messages"] += [answer["choices"][0]["message"], {"role": "tool", "content": "sunny"}]
    after = Demo().answer((await whole(question))[2], "chat", TARGET)

    assert [delta.finish for delta in deltas if delta.finish] == ["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Town", "days": 3}
    assert after.text == "The tool answered: sunny"


def test_a_tool_choice_is_obeyed():
    named = {"type": "function", "function": {"name": "get_weather"}}
    assert demo_answers.tool_calls(asked("hello", tools=[WEATHER])) == []
    for choice in ("required", named):
        [call] = demo_answers.tool_calls(asked("hello", tools=[WEATHER], tool_choice=choice))
        assert call["function"]["name"] == "get_weather"
    assert demo_answers.tool_calls(asked("the weather?", tools=[WEATHER], tool_choice="none")) == []


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"]}, {"a": 1}),
        ({"enum": ["x", "y"]}, "x"),
        ({"type": ["null", "number"], "minimum": 3.5}, 3.5),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, None),
        ({"$ref": "#/$defs/city", "$defs": {"city": {"type": "string", "maxLength": 2}}}, "ho"),
        ({"$ref": "#", "$defs": {}}, None),
        ({"type": "string", "format": "date"}, "2026-01-01"),
        ({"type": "integer", "exclusiveMinimum": 4, "multipleOf": 4}, 8),
    ],
)
def test_structured_output_satisfies_its_schema(schema, value):
    body = asked("how", response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": schema}})
    answer = demo_answers.chat_answer(body, created=1)
    assert json.loads(answer["choices"][0]["message"]["content"]) == value


def test_similar_texts_lie_nearer_than_others_and_every_vector_has_length_one():
    texts = ["How do I reset my password?", "Resetting my password", "The cat sat on the mat"]
    vectors = [row["embedding"] for row in demo_answers.embeddings_answer({"input": texts})["data"]]
    near, far = (sum(a * b for a, b in zip(vectors[0], other, strict=True)) for other in vectors[1:])
    assert near > 0.4 > 0.2 > far
    assert [round(math.hypot(*vector), 9) for vector in vectors] == [1.0] * 3


async def test_embeddings_come_in_the_width_and_encoding_asked_for():
    body = (await whole({"input": "a", "dimensions": 8, "encoding_format": "base64"}, "embeddings"))[2]
    delta = Demo().answer(body, "embeddings", TARGET)
    assert len(json.loads(body)["data"][0]["embedding"]) == 44
    assert (delta.usage.input, delta.usage.output) == (1, 0)
