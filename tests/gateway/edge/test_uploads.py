"""Recordings passed on while they still come."""

from collections.abc import Iterable

import pytest

from gateway.core.errors import InvalidRequest, TooLarge
from gateway.edge.request import Gone
from gateway.edge.uploads import WHOLE_BYTES, form_of
from tests.gateway.edge.test_audio import part

KIND = "multipart/form-data; boundary=b"
SOUND = bytes(range(256)) * 5000 + b"\r\n--not-it\r\n-\r\n--"
HEADERS = {"content-type": KIND}


def receiving(body: bytes, size: int, *, leaves: bool = False):
    """An ASGI `receive` that gives the body in pieces of this size."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    messages = [
        {"type": "http.request", "body": piece, "more_body": leaves or number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    ]
    messages.append({"type": "http.disconnect"})
    waiting = iter(messages)

    async def receive():
        return next(waiting)

    return receive


def body_of(before: Iterable[tuple[str, str]], after: Iterable[tuple[str, str]] = ()) -> bytes:
    head = "".join(part(name, value) for name, value in before)
    opened = part("file", "", filename="é.wav").removesuffix("\r\n")
    tail = "\r\n" + "".join(part(name, value) for name, value in after) + "--b--\r\n"
    return head.encode() + opened.encode() + SOUND + tail.encode()


@pytest.mark.parametrize("size", [997, 65536])
async def test_a_large_recording_comes_in_pieces_with_the_fields_on_both_sides_of_it(size):
    body = body_of([("model", "m"), ("language", "en")], [("temperature", "0"), ("include[]", "logprobs")])
    fields, upload = await form_of(receiving(body, size), HEADERS, 10**8)
    assert fields == {
        "model": "m",
        "language": "en",
        "file": {"filename": "é.wav", "content_type": "application/octet-stream"},
    }
    pieces = [piece async for piece in upload.pieces()]
    assert b"".join(pieces) == SOUND
    assert max(map(len, pieces)) <= 2 * 65536 + 1024
    assert (upload.began, upload.ended) == (True, True)
    assert upload.fields == {"temperature": "0", "include[]": ["logprobs"]}


@pytest.mark.parametrize(
    "body",
    [
        body_of([], [("model", "m")]),  # the model's name comes last
        body_of([("model", "m"), ("prompt", "p" * 140_000)]),  # the fields are long
    ],
)
async def test_a_body_in_another_order_is_read_whole(body):
    fields, upload = await form_of(receiving(body, 65536), HEADERS, 10**8)
    assert (fields["model"], fields["file"]["data"], upload) == ("m", SOUND, None)


async def test_a_small_body_is_read_whole_so_that_it_can_be_tried_again():
    body = body_of([("model", "m")])[:-1000] + b"\r\n--b--\r\n"
    given = body[: WHOLE_BYTES // 2] + b"\r\n--b--\r\n"
    fields, upload = await form_of(receiving(given, 1000), HEADERS | {"content-length": str(len(given))}, 10**8)
    assert (fields["model"], len(fields["file"]["data"]) > 500_000, upload) == ("m", True, None)


@pytest.mark.parametrize("late", ["model", "prompt", "stream", "timeout", "metadata"])
async def test_a_field_that_was_needed_before_the_recording_is_refused_after_it(late):
    _, upload = await form_of(receiving(body_of([("model", "m")], [(late, "1")]), 65536), HEADERS, 10**8)
    with pytest.raises(InvalidRequest) as refused:
        [_ async for _ in upload.pieces()]
    assert refused.value.param == late


async def test_a_body_that_does_not_end_or_is_too_long_is_refused_on_the_way():
    whole = body_of([("model", "m")])
    _, upload = await form_of(receiving(whole[:-30], 65536), HEADERS, 10**8)
    with pytest.raises(InvalidRequest, match="does not end"):
        [_ async for _ in upload.pieces()]
    _, upload = await form_of(receiving(whole, 65536), HEADERS, 200_000)
    with pytest.raises(TooLarge):
        [_ async for _ in upload.pieces()]


async def test_a_caller_who_leaves_in_the_middle_is_noticed():
    _, upload = await form_of(receiving(body_of([("model", "m")])[:300_000], 65536, leaves=True), HEADERS, 10**8)
    left = []
    upload.on_gone = lambda: left.append(True)
    with pytest.raises(Gone):
        [_ async for _ in upload.pieces()]
    assert left == [True]
