"""What is known of a model rules calls out before anything is sent."""

import pytest

from gateway.providers.capabilities import rules_out
from tests.gateway.providers.replay import target

TEXT_ONLY = target("openai", capabilities=frozenset())
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def asks(*parts: dict, **more: object) -> dict:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, *parts]}], **more}


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (asks(IMAGE), "takes no images"),
        (asks({"type": "image", "source": {}}), "takes no images"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "takes no images"),
        (asks({"type": "input_audio"}), "takes no audio"),
        (asks({"type": "file"}), "takes no files"),
        (asks({"type": "document"}), "takes no files"),
        (asks({"type": "video_url"}), "takes no video"),
        (asks(tools=[{"type": "function"}]), "calls no tools"),
        (asks(response_format={"type": "json_schema"}), "has no structured output"),
    ],
)
def test_a_model_that_can_not_is_ruled_out_and_one_that_can_is_not(body, what):
    assert rules_out(body, TEXT_ONLY) == f"public {what}"
    everything = frozenset({"image", "audio", "file", "video", "tools", "json_schema"})
    assert rules_out(body, target("openai", capabilities=everything)) is None


def test_a_model_that_nothing_is_known_of_rules_nothing_out():
    assert rules_out(asks(IMAGE, tools=[{}]), target("openai")) is None


def test_a_call_that_is_certainly_too_long_is_ruled_out_and_media_do_not_count_as_text():
    small = target("openai", context_tokens=100)
    long = {"messages": [{"role": "user", "content": "word " * 200}]}
    assert rules_out(long, small) == "public reads at most 100 tokens; this call has at least 166"
    assert rules_out({"messages": [{"role": "user", "content": "word " * 100}]}, small) is None
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5000}}
    assert rules_out(asks(picture), small) is None
    assert rules_out({"messages": 3, "input": None, "tools": "x"}, small) is None
