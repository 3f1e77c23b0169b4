"""Where like questions are found: within one partition of one workspace, exactly, in bounded memory."""

import numpy as np
import pytest

from gateway.caching.semantic import MOST_ROWS, Partition, Place, SemanticIndex, question, text_of
from gateway.edge.endpoints import FORMS
from tests.gateway.caching.sample import call, routes, vector

LATER = 2e9  # when an answer goes, in epoch seconds


def place(*numbers: float, workspace: str = "w", partition: bytes = b"p", sides: frozenset[str] = frozenset()) -> Place:
    return Place(workspace, partition, vector(*numbers), sides)


async def test_the_most_alike_is_found_with_its_cosine_and_only_in_its_own_partition() -> None:
    index = SemanticIndex()
    index.add(place(1, 0), b"east", LATER)
    index.add(place(0, 1), b"north", LATER)
    index.add(place(1, 1, partition=b"q"), b"elsewhere", LATER)
    index.add(place(1, 1, workspace="v"), b"theirs", LATER)
    found = await index.nearest(place(1, 0.1))
    assert found is not None
    assert (found[0], found[1]) == (b"east", pytest.approx(1 / 1.01**0.5, abs=1e-6))
    assert await index.nearest(place(1, 0, partition=b"none")) is None
    assert await index.nearest(place(1, 0, workspace="nobody")) is None
    assert await index.nearest(place(1, 0, 0)) is None  # another width


async def test_a_question_that_asks_for_the_opposite_is_passed_by_for_the_next() -> None:
    index = SemanticIndex()
    index.add(place(1, 0, sides=frozenset({"disable"})), b"opposite", LATER)
    assert await index.nearest(place(1, 0, sides=frozenset({"enable"}))) is None
    index.add(place(1, 0.5), b"next", LATER)
    found = await index.nearest(place(1, 0, sides=frozenset({"enable"})))
    assert found is not None
    assert found[0] == b"next"


async def test_what_is_forgotten_is_found_no_more_and_the_rest_still_is() -> None:
    index = SemanticIndex()
    for number, key in enumerate((b"a", b"b", b"c")):
        index.add(place(*np.eye(3)[number]), key, LATER)
    index.forget(place(1, 0, 0), b"a")
    index.forget(place(1, 0, 0), b"never there")
    assert [(await index.nearest(place(*np.eye(3)[number])))[0] for number in (1, 2)] == [b"b", b"c"]  # type: ignore[index]
    index.add(place(0, 1, 0.5), b"b", LATER)  # asked anew: its place moves
    assert (await index.nearest(place(0, 1, 0.5)))[1] == pytest.approx(1.0, abs=1e-6)  # type: ignore[index]


async def test_a_full_partition_writes_over_its_oldest() -> None:
    held = Partition(2)
    for number in range(MOST_ROWS + 2):
        held.add(b"%d" % number, vector(1, number), frozenset())
    assert (len(held.keys), held.keys[:3]) == (MOST_ROWS, [b"%d" % MOST_ROWS, b"%d" % (MOST_ROWS + 1), b"2"])


async def test_a_full_index_lets_go_of_the_oldest_of_whoever_holds_most() -> None:
    one = np.zeros((8, 4), dtype=np.float32).nbytes
    index = SemanticIndex(most_bytes=4 * one)
    index.add(place(1, 0, 0, 0, workspace="small"), b"k", LATER)
    for number in range(9):
        index.add(place(1, 0, 0, 0, workspace="large", partition=b"%d" % number), b"k", LATER)
    assert index.held_bytes == 4 * one
    assert await index.nearest(place(1, 0, 0, 0, workspace="small")) is not None
    kept = [
        number
        for number in range(9)
        if await index.nearest(place(1, 0, 0, 0, workspace="large", partition=b"%d" % number))
    ]
    assert kept == [6, 7, 8]


async def test_vectors_of_another_width_begin_the_partition_anew() -> None:
    index = SemanticIndex()
    index.add(place(1, 0), b"old", LATER)
    index.add(place(1, 0, 0), b"new", LATER)
    assert await index.nearest(place(1, 0)) is None
    assert await index.nearest(place(1, 0, 0)) == (b"new", 1.0)


SYSTEM = {"role": "system", "content": "Be brief."}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


def asked(*messages: dict, **fields):
    return question(call(body={"messages": list(messages), **fields.pop("body", {})}, **fields), routes(), "e")


def user(content) -> dict:
    return {"role": "user", "content": content}


def test_a_partition_is_all_that_shapes_the_answer_but_the_last_turn() -> None:
    base = asked(user("one?"))
    assert base is not None
    assert base[1] == "one?"
    assert asked(user("another?"))[0] == base[0]
    others = {
        "workspace": asked(user("one?"), workspace="v"),
        "system prompt": asked(SYSTEM, user("one?")),
        "earlier turns": asked(user("x"), {"role": "assistant", "content": "y"}, user("one?")),
        "parameter": asked(user("one?"), body={"temperature": 0.2}),
        "user": asked(user("one?"), cache_by_customer=True, user="ann"),
        "prompt": asked(user("one?"), prompt="faq@2"),
        "stream": asked(user("1 one?")),
        "policy": question(call("one?"), routes(policy_versions={"w": "2"}), "e"),
        "embedding model": question(call("one?"), routes(), "f"),
    }
    assert len({found[0] for found in others.values() if found} | {base[0]}) == len(others) + 1


def test_calls_that_likeness_can_not_answer_are_left_out_unless_they_ask() -> None:
    assert asked(user("q"), body={"tools": TOOLS}) is None
    assert asked(user("q"), body={"temperature": 0.8}) is None
    assert asked(user("q"), body={"tools": TOOLS, "temperature": 0.8}, cache="semantic") is not None
    assert asked(user("q"), body={"temperature": 0.7}) is not None
    assert asked(user([{"type": "image_url", "image_url": {"url": "x"}}]), cache="semantic") is None
    assert asked({"role": "tool", "content": "q"}) is None
    assert asked(user("")) is None
    assert asked(user("x" * 8_001)) is None
    assert asked() is None
    assert question(call(form=FORMS["/v1/embeddings"], body={"input": "q"}), routes(), "e") is None


def test_the_text_of_a_turn_is_its_text_parts() -> None:
    assert text_of("plain") == "plain"
    assert text_of([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]) == "a\nb"
    assert text_of([{"type": "text", "text": "a"}, {"type": "image_url"}]) == ""
    assert text_of(None) == ""
