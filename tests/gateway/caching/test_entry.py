"""A kept answer: nobody who is given it changes it for the next one, and it serves only whom it may."""

import time

import pytest

from gateway.caching.entry import Hit, decode, encode, is_purged, kept, serves, shown, weight
from gateway.core.call import Delta, Usage
from tests.gateway.caching.sample import call, entry


def test_an_answer_given_out_is_the_receivers_own_to_change() -> None:
    given = Delta(data={"a": [1]}, text="x", usage=Usage(input=1))
    held = kept(given)
    given.data["a"].append(2)
    given.usage.input = 9
    first = shown(held)
    first.data["a"].append(3)
    assert (shown(held).data, shown(held).usage) == ({"a": [1]}, Usage(input=1))


def test_the_bytes_of_a_provider_are_kept_as_they_came() -> None:
    raw = b'{"x": 1.10}'
    held = kept(Delta(raw=raw, data={"x": 1.1}, form="messages", text="t", hidden="h", finish="stop", usage_only=True))
    back = shown(held)
    assert (back.raw, back.data, back.form, back.text, back.hidden, back.finish) == (
        raw,
        None,
        "messages",
        "t",
        "h",
        "stop",
    )
    assert back.usage_only
    assert weight(Delta(raw=raw, text="tt", hidden="hh")) == 250 + len(raw) + 4


def test_an_entry_comes_back_from_its_bytes_as_it_was() -> None:
    whole = entry(deltas=[kept(Delta(raw=b"r", usage=Usage(input=4, output=2, cached=1)))])
    assert decode(encode(whole)) == whole


def test_it_tells_its_age_and_what_it_saved() -> None:
    now = time.time()
    hit = Hit(entry(at=now - 41.5), now)
    assert (hit.age_s, hit.saved_nanos, hit.model, hit.provider) == (41, 70, "one", "p")


def test_it_serves_its_own_workspace_while_it_is_fresh() -> None:
    now = time.time()
    assert serves(entry(), call(), {}, None)
    assert not serves(entry(), call(workspace="v"), {}, None)
    assert not serves(entry(), call(caller=None), {}, None)
    assert not serves(entry(expires=now - 1), call(), {}, None)
    assert serves(entry(at=now - 5), call(), {}, 10)
    assert not serves(entry(at=now - 15), call(), {}, 10)
    assert not serves(entry(), call(), {}, 0)
    assert not serves(entry(at=now - 5), call(), {"w": {("all", ""): now}}, None)


@pytest.mark.parametrize(
    ("what", "is_meant"),
    [
        (("all", ""), True),
        (("route", "chat"), True),
        (("route", "cha"), False),
        (("prompt", "faq"), True),
        (("prompt", "faq@2"), False),
        (("user", "ann"), True),
        (("user", "bob"), False),
    ],
)
def test_a_purge_means_what_it_names(what: tuple[str, str], is_meant: bool) -> None:
    kept_answer = entry(at=100.0, prompt="faq@2", user="ann")
    assert is_purged(kept_answer, {"w": {what: 100.0}}) is is_meant
    assert not is_purged(kept_answer, {"w": {what: 99.9}})
    assert not is_purged(kept_answer, {"v": {what: 100.0}})
