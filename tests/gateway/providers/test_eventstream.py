"""The binary event stream, against botocore's reader and against damage."""

import struct
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import UpstreamBroken
from gateway.providers.eventstream import Decoder, Message, headers
from tests.gateway.providers.frames import event, frame

payloads = st.lists(st.binary(max_size=200), min_size=1, max_size=5)
STREAM = event("messageStart", {"role": "assistant"}) + event("contentBlockDelta", {"delta": {"text": "naïve 🙂"}})


@given(payloads, st.data())
def test_what_botocore_reads_is_what_we_read_however_it_is_cut(bodies, data):
    stream = b"".join(frame(body, event_type=str(index), x="y" * index) for index, body in enumerate(bodies))
    oracle = EventStreamBuffer()
    oracle.add_data(stream)
    expected = [Message(message.headers, message.payload) for message in oracle]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    decoder = Decoder()
    found = [
        message
        for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for message in decoder.feed(stream[begin:end])
    ]
    assert found == expected
    assert decoder.empty


def test_a_cut_at_every_byte_changes_nothing():
    expected = Decoder().feed(STREAM)
    assert [message.headers[":event-type"] for message in expected] == ["messageStart", "contentBlockDelta"]
    for cut in range(len(STREAM) + 1):
        decoder = Decoder()
        assert decoder.feed(STREAM[:cut]) + decoder.feed(STREAM[cut:]) == expected
    one_by_one = Decoder()
    assert [message for byte in STREAM for message in one_by_one.feed(bytes([byte]))] == expected


def test_no_changed_byte_goes_unseen():
    for place in range(len(STREAM)):
        damaged = bytearray(STREAM)
        damaged[place] ^= 0x10
        decoder = Decoder()
        with pytest.raises(UpstreamBroken):
            decoder.feed(bytes(damaged))


@given(st.binary(max_size=120))
def test_nonsense_is_an_error_or_an_unfinished_message(noise):
    decoder = Decoder()
    try:
        found = decoder.feed(noise)
    except UpstreamBroken:
        return
    assert found == []
    assert decoder.empty == (noise == b"")


def test_a_message_larger_than_a_megabyte_is_refused_before_it_is_kept():
    lengths = struct.pack(">II", 1 << 24, 0)
    with pytest.raises(UpstreamBroken):
        Decoder().feed(lengths + struct.pack(">I", crc32(lengths)))


def test_every_type_of_header_is_read():
    def header(name: str, kind: int, value: bytes) -> bytes:
        return bytes([len(name)]) + name.encode() + bytes([kind]) + value

    block = (
        header("a", 0, b"")
        + header("b", 1, b"")
        + header("c", 2, b"\xff")
        + header("d", 3, b"\x01\x00")
        + header("e", 4, b"\x00\x00\x00\x07")
        + header("f", 5, b"\x00" * 7 + b"\x09")
        + header("g", 6, b"\x00\x02hi")
        + header("h", 7, b"\x00\x02ho")
        + header("i", 8, b"\x00" * 7 + b"\x01")
        + header("j", 9, b"u" * 16)
    )
    expected = {"a": True, "b": False, "c": -1, "d": 256, "e": 7, "f": 9, "g": b"hi", "h": "ho", "i": 1, "j": b"u" * 16}
    assert headers(block) == expected
    for broken in (block[:-1], block + b"\x01", b"\x01z\x0b", b"\x01z\x07\x00\x05hi"):
        with pytest.raises(UpstreamBroken):
            headers(broken)
