"""Characters that a stream cuts in two come together again."""

import json
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.halves import Halves, Mender, decode_object, without_halves


@given(st.text(), st.data())
def test_pieces_cut_between_utf_16_units_join_to_the_text(text, data):
    units = text.encode("utf-16-le")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(units) // 2), max_size=5)))
    places = [0, *(cut * 2 for cut in cuts), len(units)]
    pieces = [units[a:b].decode("utf-16-le", "surrogatepass") for a, b in pairwise(places)]
    halves = Halves()
    joined = [halves.join(piece) for piece in pieces]
    assert "".join(joined) == text
    assert all(piece.encode() is not None for piece in joined)


def test_a_half_that_stays_alone_is_replaced():
    halves = Halves()
    assert [halves.join("a\ud83d"), halves.join("b")] == ["a", "\ufffdb"]
    assert Halves().join("\ude42x") == "\ufffdx"


def test_objects_with_halves_are_read_and_other_nonsense_is_not():
    assert decode_object(b'{"a":"x\\ud83d"}') == {"a": "x\ud83d"}
    for wrong in (b"", b"[]", b'{"a":', b'{"a":"\\u12"}'):
        with pytest.raises((ValueError, msgspec.DecodeError)):
            decode_object(wrong)


def test_a_streams_events_are_mended_and_whole_ones_left_as_they_are():
    def event(text: str) -> bytes:
        return json.dumps({"choices": [{"index": 0, "delta": {"content": text}}], "id": "x"}).encode()

    mender = Mender()
    pieces = [mender.mend(event(text)) for text in ("so \ud83d", "\ude42 then", "é 🙂")]
    assert pieces[2] is None
    assert [json.loads(piece)["choices"][0]["delta"]["content"] for piece in pieces[:2]] == ["so ", "🙂 then"]
    assert mender.mend(b'{"a":"\\ud83d"') is None
    assert without_halves(event("🙂")) == event("🙂")
