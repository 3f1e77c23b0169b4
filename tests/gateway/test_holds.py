"""How long the event loop is held by looking at texts: counted, not timed.

Between two turns of the loop no function that looks at texts is given more than some thousand characters on the loop's
thread, however long and however nasty a call or an answer is; and in the threads that look at long ones no single step is
given more than a piece, so that the loop gets the interpreter back between two of them.
"""

import asyncio
import json
import sys
import threading
from collections.abc import Awaitable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from evals.guardrails.build import guard
from evals.snapshot import EvalsSnapshot
from evals.stage import conclude, screen
from gateway.core import aside
from gateway.core.call import Call, Delta
from gateway.redaction.finder import KINDS
from gateway.redaction.stage import mask, sealed
from gateway.seeing import seen
from tests.gateway.redaction.sample import call, routes

SIZE = 60_000
MOST_ON_LOOP = aside.LONG_CHARACTERS + 3_000  # with the end of what came before
MOST_BETWEEN_TURNS = aside.PIECE_CHARACTERS + 2 * MOST_ON_LOOP
MOST_AT_ONCE = aside.PIECE_CHARACTERS + 3_000
LOOKS = {  # the functions that look at a text from its beginning to its end, each with the name of the text
    ("finder.py", "find"): "text",
    ("plain.py", "plain"): "text",
    ("restoring.py", "restored"): "text",
    **{
        ("checks.py", "look"): "text",
        ("secrets.py", "find_secrets"): "text",
        ("injection.py", "injection_score"): "text",
    },
    **{("hidden.py", name): "text" for name in ("hidden_text", "spoofed_roles")},
    ("patterns.py", "whole_words"): "text",
    ("patterns.py", "matches"): "text",
    ("contact.py", "emails"): "text",
    ("numbers.py", "numbers"): "text",
    ("names.py", "people"): "text",
}
WHOLE = {("finder.py", "find"), ("restoring.py", "restored")}  # go over a long text themselves, in pieces
NASTY = {
    "letter": "a",
    "telephones": "082 123 4567 ",
    "cards": "4111 1111 1111 1111 ",
    "addresses": "jo@example.org ",
    "placeholders": "<EMAIL_1> ",
    "key": "-----BEGIN PRIVATE KEY-----\n",
    "told": "password: a1b2c3d4! ",
    "words": "halberd ",
    "marks": "\u200b",
    "roles": "<|im_start|> ",
}
PATTERNS = (("claim", "CLM-[0-9]{6}"), ("nested", "(a+)+$x"), ("long", "[a-z]{1,60}[0-9]!"))
POLICY = routes(detect=KINDS, patterns=PATTERNS, words=("halberd",), names=("Zog",))
BOTH = {"on": ["input", "output"]}
GUARDS = EvalsSnapshot(
    {
        "w": (
            *(guard(kind, "flag", None, [], BOTH) for kind in ("prompt_injection", "secrets", "invisible_text")),
            *(guard(kind, "flag", None, ["halberd", "zog"], BOTH) for kind in ("blocked_words", "topics")),
            guard("json_schema", "flag", None, [], {"schema": {"type": "array"}}),
        )
    }
)


class Turns:
    """What was given to the functions that look: the longest text, and how much between two turns of the loop."""

    def __init__(self) -> None:
        self.loop_thread = threading.get_ident()
        self.longest_on_loop = self.longest_aside = self.between = self.most_between = 0

    def look(self, frame: FrameType, event: str, argument: object) -> None:
        if event != "call":
            return
        code = frame.f_code
        which = (code.co_filename.rpartition("/")[2], code.co_name)
        if (name := LOOKS.get(which)) is None:
            return
        size = len(frame.f_locals[name])
        if threading.get_ident() != self.loop_thread:
            self.longest_aside = max(self.longest_aside, 0 if which in WHOLE else size)
        else:
            self.longest_on_loop = max(self.longest_on_loop, size)
            if which in WHOLE or which == ("checks.py", "look"):
                self.between += size
                self.most_between = max(self.most_between, self.between)

    async def watch(self, work: Awaitable[Any]) -> None:
        going = asyncio.ensure_future(work)
        while not going.done():
            self.between = 0
            await asyncio.sleep(0)
        going.result()


@contextmanager
def turns(monkeypatch: pytest.MonkeyPatch) -> Iterator[Turns]:
    counted = Turns()
    with ThreadPoolExecutor(2, initializer=sys.setprofile, initargs=(counted.look,)) as threads:
        monkeypatch.setattr(aside, "_threads", threads)
        sys.setprofile(counted.look)
        try:
            yield counted
        finally:
            sys.setprofile(None)
    assert counted.longest_on_loop <= MOST_ON_LOOP
    assert counted.most_between <= MOST_BETWEEN_TURNS
    assert counted.longest_aside <= MOST_AT_ONCE


def nasty(name: str, size: int = SIZE) -> str:
    return (NASTY[name] * (size // len(NASTY[name]) + 1))[:size]


async def through(asked: Call, deltas: list[Delta]) -> None:
    async with sealed(asked, POLICY):
        await screen(asked, GUARDS)
        await mask(asked, POLICY)
        for delta in deltas:
            await seen(asked, delta)
        await conclude(asked)


@pytest.mark.parametrize("name", sorted(NASTY))
async def test_a_long_call_and_a_long_answer_never_hold_the_loop(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = nasty(name)
    answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
    asked = call(f"jo@example.org {text}", metadata={"note": text[:10_000]}, session_id="s")
    with turns(monkeypatch) as counted:
        await counted.watch(through(asked, [Delta(raw=json.dumps(answer).encode(), text=text)]))
    assert counted.longest_aside > aside.LONG_CHARACTERS  # so there was something to see


@pytest.mark.parametrize("size", [40, 3_000, 7_000])
async def test_a_stream_whose_pieces_come_all_at_once_gives_the_loop_back_between_them(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = nasty("telephones", 150 * size if size < 100 else SIZE)
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    deltas = [
        Delta(data={"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}, text=piece)
        for piece in pieces
    ]
    asked = call("mail jo@example.org", stream=True)
    with turns(monkeypatch) as counted:
        await counted.watch(through(asked, deltas))
    assert counted.longest_on_loop > 0  # so there was something to see


@pytest.mark.parametrize("body", [{"input": [0] * 50_000}, {"input": {str(number): "" for number in range(9_000)}}])
async def test_a_body_of_many_small_values_is_walked_in_a_thread(
    body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with turns(monkeypatch) as counted:
        await counted.watch(through(call(body=body), []))
    assert counted.longest_on_loop == 0


async def test_what_a_refused_call_says_beside_its_body_is_masked_in_a_thread_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = call("x", metadata={"note": nasty("addresses")}, tags=("a", "jo@example.org"))

    async def refused() -> None:
        with pytest.raises(ZeroDivisionError):
            async with sealed(asked, POLICY):
                raise ZeroDivisionError

    with turns(monkeypatch) as counted:
        await counted.watch(refused())
    assert asked.controls.tags == ("a", "<EMAIL_1>")
    assert "jo@" not in asked.controls.metadata["note"]


async def test_a_call_that_is_given_up_while_a_thread_looks_leaves_nothing_unmasked_for_the_record() -> None:
    asked = call(
        f"jo@example.org {nasty('addresses')}", metadata={"note": nasty("addresses")}, session_id="jo@example.org"
    )

    async def take() -> None:
        async with sealed(asked, POLICY):
            await mask(asked, POLICY)

    going = asyncio.ensure_future(take())
    await asyncio.sleep(0)
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert not asked.is_masked
    assert "jo@example.org" not in json.dumps([asked.body, asked.controls.metadata, asked.controls.session_id])


@pytest.mark.parametrize("changes", [{"engine": "nowhere:model"}, {"redact": ("faces",)}])
async def test_a_call_that_is_refused_before_it_was_masked_leaves_nothing_for_the_record(
    changes: dict[str, Any],
) -> None:
    asked = call("jo@example.org", metadata={"note": "jo@example.org"}, redact=changes.get("redact", ()))
    policy = routes(engine=changes.get("engine", ""))
    with pytest.raises(Exception, match=r"nothing called|look for personal data failed"):
        async with sealed(asked, policy):
            await mask(asked, policy)
    assert (asked.body, asked.controls.metadata) == ({}, {})
