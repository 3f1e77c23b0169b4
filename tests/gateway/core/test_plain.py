"""The plain view of a text, and the way back from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.plain import plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ASCII", "plain ASCII"),
        ("Größe und Straße", "Größe und Straße"),
        ("ｊｏ＠ｅｘａｍｐｌｅ．ｏｒｇ", "jo@example.org"),
        ("jo\u200b@ex\u00adample.org", "jo@example.org"),
        ("\u202e0821234567\u202c", "0821234567"),
        ("٠٨٢ १२३ ４５６７", "082 123 4567"),
        ("082\u2011123\u20134567", "082-123-4567"),
        ("082\u00a0123\u2009\u200a4567", "082 123  4567"),
        ("Jose\u0301", "José"),
        ("ﬁne…", "fine..."),
        ("\u200b\u200c\u200d", ""),
        ("¼ \ufdfa \u33c2", "1\u20444 \ufdfa a.m."),  # no ligature grows to 18 letters
    ],
)
def test_a_view_shows_what_a_person_reads(text: str, shown: str) -> None:
    assert plain(text).text == shown


def test_what_is_found_in_the_view_is_carried_back_to_the_original() -> None:
    text = "… an ｊｏ\u200b＠example.org, bitte"
    view = plain(text)
    start = view.text.index("jo@example.org")
    first, last = view.original(start, start + len("jo@example.org"))
    assert text[first:last] == "ｊｏ\u200b＠example.org"


@given(st.text(alphabet=st.characters() | st.sampled_from("\u200b\u0301\ufb01\uff11e…"), max_size=60))
def test_every_span_of_a_view_lies_in_the_original_in_order(text: str) -> None:
    view = plain(text)
    spans = [view.original(place, place + 1) for place in range(len(view.text))]
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert spans == sorted(spans)
