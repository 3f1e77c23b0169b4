"""What looks wrong in a version is said, and what is right is left alone."""

import pytest

from prompts.services.lint import warnings
from prompts.services.words import Words

SYSTEM = "The input tone stands in a system message, which the model obeys: whoever fills it can give orders. "
SYSTEM += "Move it to a user message, or mark it as trusted in the schema."


def says(role: str, text: str, properties: dict | None = None, **schema) -> list[str]:
    schema = {**schema, **({"properties": properties} if properties is not None else {})}
    messages = [{"role": role, "content": text}]
    return warnings(Words(messages=messages, input_schema=schema), messages)


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("text", ["Be {{tone}}.", "{{#tone}}x{{/tone}}", "{{^tone}}x{{/tone}}", "{{tone.name}}"])
def test_an_input_in_what_the_model_obeys_is_told_unless_it_is_trusted(role, text):
    assert says(role, text) == [SYSTEM]
    assert says(role, text, {"tone": {"type": "string", "trusted": "yes"}}) == [SYSTEM]
    assert says(role, text, {"tone": {"type": "string", "trusted": True}}) == []
    assert says("user", text) == []


def test_parts_of_a_message_are_read_too():
    messages = [{"role": "system", "content": [{"type": "text", "text": "Be {{tone}}."}]}]
    assert warnings(Words(messages=messages), messages) == [SYSTEM]


def test_a_schema_and_messages_that_do_not_match_are_told():
    assert says("user", "{{a}}", {"a": {}, "b": {}}) == ["The schema describes b, but no message uses it."]
    assert says("user", "{{a}} {{b}}", {"a": {}}) == ["The messages use b, but the schema does not describe it."]
    assert says("user", "{{a}}", required=["z"]) == ["The schema requires z, but no message uses it."]
    assert says("user", "{{a}}", {"a": {}}, required=["a"]) == []


def test_a_place_for_history_is_a_use():
    messages = [{"placeholder": "history"}, {"placeholder": "messages"}, {"role": "user", "content": "x"}]
    words = Words(messages=messages, input_schema={"properties": {"history": {"type": "array"}}})
    assert warnings(words, messages) == []
