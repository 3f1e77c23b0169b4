"""How much a body may be read as."""

import pytest

from gateway.core.bounds import measure


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}, "text": "w" * 5000},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}, "content": [{"text": "w" * 5000}]},
    ],
)
def test_words_beside_an_image_or_a_sound_are_counted(part: dict[str, object]) -> None:
    size = measure({"messages": [{"role": "user", "content": [part]}]})

    assert size.text >= 5000


def test_an_image_itself_is_not_counted_as_words() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}

    size = measure({"messages": [{"role": "user", "content": [part]}]})

    assert size.images == 1
    assert size.text < 1000
