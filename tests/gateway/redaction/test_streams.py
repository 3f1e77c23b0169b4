"""A restored stream equals the restored whole, in every form and for every way of cutting it."""

import asyncio
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.call import Call, Delta
from gateway.redaction.restoring import MOST_HELD_CHARACTERS, Channel, restored
from gateway.redaction.stage import mask, rest, restore
from gateway.redaction.vault import Vault
from tests.gateway.redaction.sample import call, routes

ORIGINALS = {
    "EMAIL_1": "jo@example.org",
    "PERSON_1": 'Jo "Öl" \\ Müller',
    "CREDIT_CARD_1": "4111 1111 1111 1111",
    "EMAIL_2": "<EMAIL_1>",
}


@pytest.fixture(scope="module")
def vault() -> Vault:
    made = Vault(gives_back=True)
    for name, original in ORIGINALS.items():
        assert made.placeholder(original, name.rpartition("_")[0].lower()) == f"<{name}>"
    return made


PIECES = [
    *(f"<{name}>" for name in ORIGINALS), "&lt;EMAIL_1&gt;", "<", ">", "<<", "<E", "<EMAIL_", "<EMAIL_99>", "<b>", "&",
    "&lt;", "&amp;", "EMAIL_1", " plain ", "Größe", "\\", "\\\\", "\\u003cEMAIL_1\\u003e", "\\\\u003cEMAIL_1\\u003e",
    "\n", "1", "_",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


def in_pieces(text: str, cuts: list[int]) -> list[str]:
    places = sorted({cut % (len(text) + 1) for cut in cuts})
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


@settings(max_examples=600, deadline=None)
@given(text=TEXTS, cuts=st.lists(st.integers(0, 500), max_size=30), in_json=st.booleans())
def test_a_text_in_pieces_is_restored_as_the_whole_is(vault: Vault, text: str, cuts: list[int], in_json: bool) -> None:
    channel = Channel(vault, in_json=in_json)
    shown = ""
    for piece in in_pieces(text, cuts):
        shown += channel.feed(piece)
        assert len(channel.held) <= MOST_HELD_CHARACTERS
    assert shown + channel.rest() == restored(text, vault, in_json=in_json)


def test_at_most_24_characters_of_a_text_are_held() -> None:
    vault = Vault(gives_back=True)
    channel, most = Channel(vault, in_json=False), 0
    for character in "&lt;CREDIT_CARD_12345&gt; <ID_NUMBER_12345> &lt;IP_ADDRESS_99999&g" * 3:
        channel.feed(character)
        most = max(most, len(channel.held))
    assert most == 24


def test_an_original_within_json_is_escaped_so_that_the_json_stays_valid(vault: Vault) -> None:
    arguments = '{"who": "<PERSON_1>", "<EMAIL_1>": "\\u003cPERSON_1\\u003e"}'
    assert json.loads(restored(arguments, vault, in_json=True)) == {
        "who": ORIGINALS["PERSON_1"],
        "jo@example.org": ORIGINALS["PERSON_1"],
    }


SAYS = "Write to <EMAIL_1> or <EMAIL_2>, says <PERSON_1>. 5 < 6 & <b>. Card <CREDIT_CARD_1>"
ASKED = "Write to jo@example.org or ann@example.org, says Thabo Mokoena. 5 < 6 & <b>. Card 4111 1111 1111 1111"


async def asked(form: str = "chat") -> Call:
    made = call(ASKED, stream=True)
    made.form.name = form
    await mask(made, routes())
    return made


def chat_events(pieces: list[str]) -> list[dict[str, Any]]:
    texts = [{"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]} for piece in pieces]
    return [*texts, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]


def completions_events(pieces: list[str]) -> list[dict[str, Any]]:
    texts = [{"choices": [{"index": 0, "text": piece, "finish_reason": None}]} for piece in pieces]
    return [*texts, {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}]


def messages_events(pieces: list[str]) -> list[dict[str, Any]]:
    texts = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}} for piece in pieces
    ]
    return [*texts, {"type": "content_block_stop", "index": 0}, {"type": "message_stop"}]


def responses_events(pieces: list[str]) -> list[dict[str, Any]]:
    place = {"item_id": "i", "output_index": 0, "content_index": 0}
    texts = [{"type": "response.output_text.delta", **place, "delta": piece} for piece in pieces]
    done = {"type": "response.output_text.done", **place, "text": "".join(pieces)}
    return [{**event, "sequence_number": number} for number, event in enumerate([*texts, done])]


def read_back(form: str, deltas: list[Delta]) -> str:
    events = []
    for delta in deltas:
        if delta.raw is None:
            events.append(delta.data)
        else:
            events += [json.loads(line[6:]) for line in delta.raw.split(b"\n") if line.startswith(b"data: ")]
    if form in ("chat", "completions"):
        return "".join(
            each["choices"][0].get("text") or each["choices"][0].get("delta", {}).get("content") or ""
            for each in events
        )
    if form == "messages":
        return "".join(each["delta"]["text"] for each in events if each["type"] == "content_block_delta")
    assert [each["sequence_number"] for each in events] == list(range(len(events)))
    assert events[-1]["text"] == ASKED
    return "".join(each["delta"] for each in events if each["type"].endswith(".delta"))


EVENTS = {
    "chat": chat_events,
    "completions": completions_events,
    "messages": messages_events,
    "responses": responses_events,
}


@pytest.mark.parametrize("form", sorted(EVENTS))
async def test_five_hundred_streams_cut_at_random_give_the_originals_back_byte_for_byte(form: str) -> None:
    made, chance = await asked(form), random.Random(7)
    for _ in range(125):
        made.vault.restorer = None
        pieces = in_pieces(SAYS, [chance.randrange(500) for _ in range(chance.randrange(60))])
        deltas = []
        for event in EVENTS[form](pieces):
            named = f"event: {event['type']}\n" if "type" in event else ""
            raw = f"{named}data: {json.dumps(event, ensure_ascii=chance.random() < 0.5)}\n\n".encode()
            deltas.append(restore(made, Delta(raw=raw, form=form)))
        assert read_back(form, [*deltas, *rest(made)]) == ASKED


async def test_a_text_that_ends_in_the_beginning_of_a_placeholder_is_shown_to_its_end_in_every_form() -> None:
    for form, events in EVENTS.items():
        if form == "responses":
            continue
        made = await asked(form)
        deltas = [
            restore(made, Delta(raw=b"data: " + json.dumps(event).encode() + b"\n\n", form=form))
            for event in events(["a <EMA"])
        ]
        assert read_back(form, deltas) == "a <EMA"


async def test_a_stream_that_ends_without_its_end_shows_what_was_held() -> None:
    made = await asked()
    shown = restore(made, Delta(data=chat_events(["mail <EMA"])[0]))
    assert read_back("chat", [shown, *rest(made)]) == "mail <EMA"


async def test_answers_of_several_choices_are_restored_each_on_its_own() -> None:
    made = await asked()
    pieces = [(0, "<EMA"), (1, "<PERS"), (0, "IL_1>"), (1, "ON_1>")]
    said = {0: "", 1: ""}
    for index, piece in pieces:
        event = {"choices": [{"index": index, "delta": {"content": piece}, "finish_reason": None}]}
        said[index] += restore(made, Delta(data=event)).data["choices"][0]["delta"]["content"]
    assert said == {0: "jo@example.org", 1: "Thabo Mokoena"}


def test_an_event_without_anything_of_ours_goes_on_as_the_bytes_that_came() -> None:
    made = asyncio.run(asked())
    delta = Delta(raw=b'data: {"choices":[{"index":0,"delta":{"content":"hello"},"x":1.50}]}\n\n')
    assert restore(made, delta) is delta
    strange = Delta(raw=b": comment with <\n\n")
    assert restore(made, strange) is strange
