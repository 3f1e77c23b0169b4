import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import UpstreamBroken
from gateway.core.sse import Splitter, comment, encode, read


def split(stream: bytes, *cuts: int, limit: int = 1 << 20) -> list[tuple[bytes, str, bytes]]:
    splitter = Splitter(limit)
    events = []
    for begin, end in zip((0, *cuts), (*cuts, len(stream)), strict=True):
        events += splitter.feed(stream[begin:end])
    return events + splitter.end()


def meaning(events):
    return [(name, data) for _, name, data in events]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\ndata: b\n\n", [("", b"a"), ("", b"b")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [("", b"a"), ("", b"b")]),
        (b"data: a\r\rdata: b\r\r", [("", b"a"), ("", b"b")]),
        (b"data: a\n\r\ndata: b\r\n\n", [("", b"a"), ("", b"b")]),
        (b"event: x\ndata: a\n\n", [("x", b"a")]),
        (b"data:a\nevent:x\nid: 7\nretry: 10\n\n", [("x", b"a")]),
        (b"data: a\ndata: b\ndata\n\n", [("", b"a\nb\n")]),
        (b"data:  a \n\n", [("", b" a ")]),
        (b": hello\n\ndata: a\n\n", [("", b""), ("", b"a")]),
        (b": hello\ndata: a\n\n", [("", b"a")]),
        (b"\n\n\ndata: a\n\n\n\ndata: b\n\n", [("", b"a"), ("", b"b")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("", b"a")]),
        (b"data: a\n\ndata: [DONE]", [("", b"a"), ("", b"[DONE]")]),
        (b"data: a\n\ndata: [DONE]\n", [("", b"a"), ("", b"[DONE]")]),
        ("data: \u2028é\u0085😀\n\n".encode(), [("", "\u2028é\u0085😀".encode())]),
        (b"", []),
        (b"\n\n", []),
    ],
)
def test_a_stream_is_read_the_same_wherever_it_is_cut(stream, expected):
    assert meaning(split(stream)) == expected
    for cut in range(len(stream) + 1):
        assert meaning(split(stream, cut)) == expected
    assert meaning(split(stream, *range(1, len(stream)))) == expected


def test_an_event_keeps_the_bytes_that_came():
    stream = b": wait\n\nevent: x\ndata: a\n\ndata: b\n\n"
    assert b"".join(raw for raw, _, _ in split(stream)) == stream


def test_the_last_event_gets_the_blank_line_that_it_lacks():
    assert split(b"data: a") == [(b"data: a\n\n", "", b"a")]


@pytest.mark.parametrize("end", [b"", b"\n\n", b"\r\n\r\n"])
def test_an_event_over_the_limit_is_refused_before_and_after_its_end(end):
    with pytest.raises(UpstreamBroken) as refused:
        split(b"data: a\n\ndata: " + b"x" * 100 + end, 20, 50, limit=64)
    assert refused.value.kind == "bad_answer"


lines = st.sampled_from(
    [b"data: a", b"data:", b"data: {}", b"event: x", b": c", b"id: 1", b"", "data: é\u2028".encode()]
)
ends = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(st.lists(st.tuples(lines, ends), max_size=12), st.data())
def test_any_mixture_of_line_ends_is_read_the_same_however_it_is_cut(parts, data):
    stream = b"".join(line + end for line, end in parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    assert meaning(split(stream, *cuts)) == meaning(split(stream))


@given(st.binary(max_size=200), st.data())
def test_no_bytes_make_the_splitter_fail(stream, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    assert meaning(split(stream, *cuts)) == meaning(split(stream))


@given(st.binary(max_size=50), st.sampled_from(["", "message_start"]))
def test_what_is_written_is_read_back(data, name):
    line_ends_as_lf = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert read(encode(data, name)) == (name, line_ends_as_lf)


def test_a_comment_is_an_event_without_data():
    assert comment("still\nhere") == b": still here\n\n"
    assert meaning(split(comment())) == [("", b"")]
