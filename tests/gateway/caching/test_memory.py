"""Answers in memory: bounded, each workspace apart, and gone when purged."""

import time

from gateway.caching.memory import MemoryStore
from tests.gateway.caching.sample import entry


def test_an_answer_is_found_under_its_workspace_and_key_alone() -> None:
    store = MemoryStore(10_000)
    kept = entry()
    store.put(b"k", kept)
    assert store.find("w", b"k") is kept
    assert store.find("v", b"k") is None
    assert store.find("w", b"l") is None


def test_a_full_store_lets_go_of_the_oldest_of_whoever_keeps_most() -> None:
    store = MemoryStore(10_000)
    store.put(b"rare", entry(workspace_id="small"))
    for number in range(20):
        store.put(b"%d" % number, entry(workspace_id="large"))
        store.find("large", b"0")  # used all the time, so it stays
    assert (store.bytes, len(store)) == (10_000, 10)
    assert store.find("small", b"rare") is not None
    kept = [number for number in range(20) if store.find("large", b"%d" % number)]
    assert kept == [0, *range(12, 20)]


def test_an_answer_that_is_too_large_is_not_kept_and_one_put_again_counts_once() -> None:
    store = MemoryStore(10_000)
    store.put(b"large", entry(bytes=1_251))
    assert len(store) == 0
    store.put(b"k", entry(bytes=100))
    store.put(b"k", entry(bytes=300))
    assert (store.bytes, len(store)) == (300, 1)
    store.drop("w", b"k")
    store.drop("w", b"k")
    assert (store.bytes, len(store)) == (0, 0)


def test_what_was_purged_is_forgotten_once_and_what_came_later_stays() -> None:
    store, now = MemoryStore(100_000), time.time()
    store.put(b"old", entry(at=now - 10, prompt="faq@2"))
    store.put(b"new", entry(at=now + 10, prompt="faq@2"))
    store.put(b"other", entry(at=now - 10, prompt="faq-two@1"))
    store.put(b"elsewhere", entry(at=now - 10, prompt="faq@2", workspace_id="v"))
    purges = {"w": {("prompt", "faq"): now}}
    store.obey(purges)
    left = [name for name in (b"old", b"new", b"other") if store.find("w", name)]
    assert left == [b"new", b"other"]
    assert store.find("v", b"elsewhere") is not None
    assert store.bytes == 3_000
