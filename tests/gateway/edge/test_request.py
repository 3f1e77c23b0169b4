"""What comes in is read strictly: nothing that two readers could read differently gets through."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidRequest, TooLarge, Unauthenticated
from gateway.edge.request import Gone, body_of, headers_of, json_object, peer_of, secret_of

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)
objects = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), values, max_size=5)


@given(objects, st.sampled_from([None, 1]), st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]))
def test_every_json_object_without_repeats_is_read_as_it_is(value: dict, indent: int | None, marks: tuple) -> None:
    assert json_object(json.dumps(value, indent=indent, separators=marks).encode()) == value


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","model":"b"}',
        b'{"a":{"b":1,"b":1}}',
        b'{"a":[{"b":1,"b":2}]}',
        b'{"text":"\\":","a":1,"a" :2}',
        b'{"a":1,"a"\n:2}',
        b'{"\\u0061":1,"a":2}',
    ],
)
def test_a_key_that_stands_twice_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="twice") as caught:
        json_object(body)
    assert caught.value.code == "invalid_json"


def test_text_that_looks_like_keys_is_not_taken_for_keys() -> None:
    value = {"content": '"a": {"b": 1, "b": 2}', "escaped": '\\":', "model": "x"}
    assert json_object(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'"text"', b"{", b'{"a":NaN}', b'{"a":1}x', b"\xff\xfe{}", b'\xef\xbb\xbf{"a":1}', b'{"a":"\xff"}'],
)
def test_what_is_no_json_object_is_refused_with_the_reason(body: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        json_object(body)
    assert caught.value.code == "invalid_json"


@pytest.mark.parametrize("depth", [65, 1_000, 100_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    with pytest.raises(InvalidRequest) as caught:
        json_object(b'{"a":' + b"[" * depth + b"]" * depth + b"}")
    assert caught.value.code == "invalid_json"


def messages(*parts: bytes, leave: bool = False):
    """A receive() that gives these parts, and then perhaps a disconnect."""
    waiting = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    waiting.append({"type": "http.disconnect"} if leave else {"type": "http.request", "body": b"", "more_body": False})

    async def receive():
        return waiting.pop(0)

    return receive


async def test_a_body_comes_together_from_its_parts() -> None:
    assert await body_of(messages(b"ab", b"cd"), {}, 10) == b"abcd"


async def test_a_body_over_the_limit_is_refused_by_its_length_and_by_its_bytes() -> None:
    with pytest.raises(TooLarge):
        await body_of(messages(), {"content-length": "11"}, 10)
    with pytest.raises(TooLarge):
        await body_of(messages(b"x" * 6, b"x" * 6), {}, 10)


async def test_an_encoded_body_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="Encoded"):
        await body_of(messages(b"x"), {"content-encoding": "gzip"}, 10)


async def test_a_client_that_leaves_before_its_body_is_gone() -> None:
    with pytest.raises(Gone):
        await body_of(messages(b"ab", leave=True), {}, 10)


def test_a_header_that_must_stand_once_is_refused_twice() -> None:
    with pytest.raises(InvalidRequest, match="authorization"):
        headers_of({"headers": [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")]})
    assert headers_of({"headers": [(b"x-a", b"1"), (b"x-a", b"2")]}) == {"x-a": "1, 2"}


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "api-key"])
def test_the_key_is_found_in_each_of_its_places(name: str) -> None:
    assert secret_of({name: "Bearer sk-1" if name == "authorization" else "sk-1"}) == "sk-1"


@pytest.mark.parametrize("written", ["utf-8", "latin-1"])
def test_a_key_may_be_any_text_however_the_client_writes_it(written: str) -> None:
    key = "schlüssel für Zürich"
    headers = headers_of({"headers": [(b"authorization", b"Bearer " + key.encode(written))]})

    assert secret_of(headers) == key


def test_two_different_keys_are_refused_and_the_same_one_twice_is_not() -> None:
    assert secret_of({"authorization": "Bearer sk-1", "x-api-key": "sk-1"}) == "sk-1"
    with pytest.raises(Unauthenticated, match="two different"):
        secret_of({"authorization": "Bearer sk-1", "x-api-key": "sk-2"})
    with pytest.raises(Unauthenticated, match="Bearer KEY"):
        secret_of({"authorization": "Basic abc"})
    assert secret_of({}) == ""


@pytest.mark.parametrize(
    ("forwarded", "hops", "expected"),
    [
        ("1.1.1.1", 0, "9.9.9.9"),
        ("1.1.1.1", 1, "1.1.1.1"),
        ("6.6.6.6, 1.1.1.1", 1, "1.1.1.1"),
        ("6.6.6.6, 1.1.1.1, 2.2.2.2", 2, "1.1.1.1"),
        ("1.1.1.1", 2, "9.9.9.9"),
        ("", 1, "9.9.9.9"),
    ],
)
def test_the_peer_is_what_our_own_proxies_saw(forwarded: str, hops: int, expected: str) -> None:
    assert peer_of({"client": ("9.9.9.9", 1)}, {"x-forwarded-for": forwarded}, hops) == expected
