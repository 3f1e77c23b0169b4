"""The bracket around the way to the provider: what it finds, what it keeps, and what it never keeps."""

import asyncio

import pytest

import gateway.caching.stage as stage
from gateway.caching.embedding import Policies
from gateway.caching.memory import MemoryStore
from gateway.caching.stage import mode_of, shared
from gateway.core.call import Delta
from gateway.core.errors import BudgetExceeded
from gateway.snapshot import CacheView, RoutesSnapshot
from tests.gateway.caching.sample import POLICIES, answer, call, routes, vector

SEMANTIC = CacheView("semantic", 600, 0.9)


def around(made, config: RoutesSnapshot, policies: Policies = POLICIES) -> shared:
    return shared(made, config, policies.budgets, policies.audit)


async def ask(config: RoutesSnapshot, text: str = "hello", **fields) -> str:
    """How the cache answers one call, which is answered where it is not."""
    made = call(text, **fields)
    async with around(made, config):
        if made.hit is None:
            answer(made)
    return made.cache


async def test_the_second_call_is_answered_by_the_first_ones_answer() -> None:
    config = routes()
    assert [await ask(config) for _ in range(2)] == ["miss", "hit-exact"]
    again = call()
    async with around(again, config):
        assert [delta.text for delta in again.hit.deltas] == ["said"]
    assert (again.hit.saved_nanos, again.reply_headers["age"], again.likeness) == (70, "0", None)


@pytest.mark.parametrize(
    ("view", "controls", "mode"),
    [
        (CacheView("exact"), {}, "exact"),
        (CacheView("off"), {"cache": "exact"}, "exact"),
        (CacheView("off"), {"cache": "on"}, "exact"),
        (CacheView("semantic"), {"cache": "on"}, "semantic"),
        (CacheView("semantic"), {"cache": "off"}, "off"),
        (CacheView("exact"), {"no_store": True, "cache": "exact"}, "off"),
    ],
)
def test_a_call_has_the_mode_that_it_asks_for_else_its_routes(view, controls, mode) -> None:
    assert mode_of(call(**controls), view) == mode


@pytest.mark.parametrize("ending", ["length", "content_filter"])
async def test_an_answer_that_did_not_end_by_itself_is_not_kept(ending: str) -> None:
    config = routes()
    made = call()
    async with around(made, config):
        answer(made, finish=ending)
    assert await ask(config) == "miss"


async def test_neither_a_failed_call_nor_a_giant_answer_is_kept() -> None:
    config = routes()

    async def fail() -> None:
        async with around(broken := call(), config):
            answer(broken)
            raise ValueError("broke")

    with pytest.raises(ValueError, match="broke"):
        await fail()
    async with around(giant := call(), config):
        answer(giant)
        for _ in range(5):
            giant.note(Delta(raw=b"x" * 1_000_000))
    assert len(config.store) == 0
    assert await ask(config) == "miss"


async def test_a_refresh_asks_anew_and_its_answer_takes_the_old_ones_place() -> None:
    config = routes()
    await ask(config)
    assert await ask(config, force_refresh=True) == "refresh"
    assert (len(config.store), await ask(config)) == (1, "hit-exact")


async def test_a_time_to_live_of_the_call_bounds_what_it_takes_and_what_it_leaves() -> None:
    config = routes()
    assert await ask(config, cache_ttl_s=0) == "miss"
    assert await ask(config) == "miss"  # nothing was left behind
    assert await ask(config, cache_ttl_s=0) == "miss"
    assert await ask(config, cache_ttl_s=5) == "hit-exact"


async def test_identical_calls_wait_for_the_first_and_the_workspaces_apart() -> None:
    config, begun = routes(), []

    async def slow(workspace: str) -> str:
        made = call(workspace=workspace)
        async with around(made, config):
            if made.hit is None:
                begun.append(workspace)
                await asyncio.sleep(0.02)
                answer(made)
        return made.cache

    seen = await asyncio.gather(*(slow(workspace) for workspace in ("w", "v", "w", "v", "w")))
    assert (sorted(begun), sorted(seen)) == (["v", "w"], ["hit-exact"] * 3 + ["miss"] * 2)


@pytest.fixture
def vectors(monkeypatch) -> dict[str, list[float]]:
    """The vectors of texts, in the place of an embedding model."""
    known: dict[str, list[float]] = {}

    async def embedded(call, text, *rest):
        return vector(*known[text]) if text in known else None

    monkeypatch.setattr(stage, "embedded", embedded)
    monkeypatch.setattr(stage, "embedder_of", lambda routes, name: call().candidates[0])
    return known


async def test_a_like_question_hits_from_the_threshold_on_and_the_record_says_how_alike(vectors) -> None:
    config = routes()
    vectors.update({"how much?": [1, 0], "what price?": [0.95, 0.3], "where?": [0.6, 0.8]})
    assert await ask(config, "how much?", view=SEMANTIC) == "miss"
    like = call("what price?", view=SEMANTIC)
    async with around(like, config):
        assert like.cache == "hit-semantic"
    assert like.likeness == {"likeness": 0.9536, "threshold": 0.9, "call_id": like.likeness["call_id"]}
    near = call("where?", view=SEMANTIC)
    async with around(near, config):
        answer(near)
    assert (near.cache, near.likeness["likeness"]) == ("miss", 0.6)
    assert await ask(config, "no vector", view=SEMANTIC) == "miss"
    assert await ask(config, "no vector", view=SEMANTIC) == "hit-exact"


async def test_a_like_answer_that_is_gone_is_forgotten_for_the_next_like_one(vectors) -> None:
    config = routes()
    vectors.update({"a": [1, 0], "b": [0.99, 0.1], "c": [1, 0.01]})
    first = call("a", view=SEMANTIC)
    async with around(first, config):
        answer(first)
    assert await ask(config, "b", view=CacheView("semantic", 600, 0.999)) == "miss"
    store: MemoryStore = config.store
    key = next(iter(store._shelves["w"].entries))
    store.drop("w", key)
    made = call("c", view=SEMANTIC)
    async with around(made, config):
        assert (made.cache, made.hit.saved_nanos) == ("hit-semantic", 70)
    assert made.likeness["likeness"] < 0.999  # b's answer, which was kept


async def test_a_call_that_is_refused_while_it_is_looked_for_makes_room_for_the_next_leader(
    monkeypatch, vectors
) -> None:
    config = routes()

    async def refuse(*given):
        await asyncio.sleep(0.01)
        raise BudgetExceeded("spent")

    monkeypatch.setattr(stage, "embedded", refuse)
    results = await asyncio.gather(*(ask(config, "q", view=SEMANTIC) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in results] == [BudgetExceeded] * 3
    assert config.store.flights == {}
