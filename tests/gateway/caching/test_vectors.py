"""The semantic cache's questions in PostgreSQL. Skipped where the server has no vector extension."""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from django.db import connection

from gateway.caching.semantic import Place
from gateway.caching.vectors import VectorTable
from gateway.services.vectors import erase_questions, has_table, make_table

LATER = 60.0
pytestmark = pytest.mark.django_db


def connecting() -> dict[str, Any]:
    given = connection.settings_dict
    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    return {name: given[key] for name, key in names.items() if given.get(key)}


@pytest.fixture
def table(db: Any) -> Iterator[VectorTable]:
    if not has_table():
        pytest.skip("this database has no vector extension")
    made = VectorTable(connecting())
    yield made
    made.close()


@pytest.fixture
def workspace() -> str:
    return uuid.uuid4().hex  # the table is written to beside the test's transaction, so nothing is rolled back


def place(workspace: str, *numbers: float, partition: bytes = b"p", sides: frozenset[str] = frozenset()) -> Place:
    vector = np.array(numbers, dtype=np.float32)
    return Place(workspace, partition, vector / np.float32(np.linalg.norm(vector)), sides)


async def seen(table: VectorTable, where: Place, key: bytes | None, write: Callable[[], None] = lambda: None) -> float:
    """How alike the nearest question is, once it is the one with this key. Writing is not waited for, and a database that

    is too slow for once is passed by: then it is written and asked again.
    """
    deadline = time.monotonic() + 60
    while True:
        table.paused.clear()
        write()
        found = await table.nearest(where)
        if not table.paused and (found[0] if found is not None else None) == key:
            return found[1] if found is not None else 0.0
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.02)


async def test_what_one_worker_was_asked_another_one_finds(table: VectorTable, workspace: str) -> None:
    until = time.time() + LATER
    other = VectorTable(connecting())

    def asked() -> None:
        table.paused.clear()
        table.add(place(workspace, 1, 0), b"east", until)
        table.add(place(workspace, 0, 1), b"north", until)
        table.add(place(workspace, 1, 1, partition=b"q"), b"elsewhere", until)
        table.add(place(workspace + "x", 1, 1), b"theirs", until)

    assert await seen(other, place(workspace, 2, 1), b"east", asked) == pytest.approx(2 / 5**0.5, abs=1e-5)
    assert await seen(other, place(workspace, 1, 2), b"north", asked) == pytest.approx(2 / 5**0.5, abs=1e-5)
    assert await seen(other, place(workspace, 1, 2, partition=b"q"), b"elsewhere", asked) > 0.9
    await seen(other, place(workspace, 1, 2, 0), None)  # another model's width
    await seen(other, place(workspace, 1, 2, partition=b"r"), None)
    other.close()


async def test_a_question_that_asks_for_the_opposite_is_passed_by(table: VectorTable, workspace: str) -> None:
    until = time.time() + LATER

    def asked() -> None:
        table.add(place(workspace, 1, 0, sides=frozenset({"disable"})), b"opposite", until)
        table.add(place(workspace, 1, 1), b"next", until)

    await seen(table, place(workspace, 1, 0), b"opposite", asked)
    await seen(table, place(workspace, 1, 0, sides=frozenset({"enable"})), b"next", asked)


async def test_a_question_goes_when_it_is_forgotten_or_its_answers_time_is_over(
    table: VectorTable, workspace: str
) -> None:
    where = place(workspace, 1, 0.1)

    def asked() -> None:
        table.add(where, b"over", time.time() - 1)
        table.add(place(workspace, 1, 0), b"long", time.time() + LATER)

    def forgotten() -> None:
        asked()  # anew: no second row
        table.forget(place(workspace, 1, 0), b"long")

    await seen(table, where, b"long", asked)
    await seen(table, where, None, forgotten)


async def test_a_database_that_is_away_passes_the_cache_by_and_holds_nobody_up(workspace: str) -> None:
    away = VectorTable({"host": "127.0.0.1", "port": 1, "dbname": "nowhere"})
    assert await away.nearest(place(workspace, 1, 0)) is None
    assert list(away.paused) == ["postgresql"]
    away.add(place(workspace, 1, 0), b"k", time.time() + LATER)
    away.forget(place(workspace, 1, 0), b"k")
    away.close()


def test_the_table_is_made_again_without_harm_and_a_purge_empties_a_workspace(
    table: VectorTable, workspace: str
) -> None:
    make_table()
    with connection.cursor() as cursor:
        for name in (workspace, workspace + "x"):
            cursor.execute(
                "INSERT INTO gateway_semantic_question VALUES (%s, 'p', 'k', '[1,0]', '{}', now() + interval '1 hour')",
                [name],
            )
        erase_questions(workspace_id=workspace)
        cursor.execute("SELECT workspace FROM gateway_semantic_question WHERE workspace LIKE %s", [f"{workspace}%"])
        assert cursor.fetchall() == [(workspace + "x",)]


def test_where_there_is_no_such_extension_nothing_is_made_and_nothing_is_missed() -> None:
    make_table()
    if not has_table():
        erase_questions(workspace_id="1")
