"""A version with its inputs: types, defaults, history, parts, and what is said when they do not fit."""

import sys
from typing import Any

import pytest

from gateway.core.errors import InvalidRequest
from prompts.rendering import VersionView, compile_version

OWN = [{"role": "user", "content": "now"}]


def version(*messages: dict[str, Any], **words: Any) -> VersionView:
    return compile_version("p@1", 1, {"messages": list(messages), **words})


def refused(view: VersionView, inputs: dict[str, Any]) -> tuple[str, str, str | None]:
    with pytest.raises(InvalidRequest) as error:
        view.render(inputs, [])
    return error.value.code, error.value.message, error.value.param


def test_own_messages_come_last_or_where_the_version_wants_them() -> None:
    system, end = {"role": "system", "content": "s"}, {"role": "user", "content": "end"}
    assert version(system).render({}, OWN) == [system, *OWN]
    assert version(system, {"placeholder": "messages"}, end).render({}, OWN) == [system, *OWN, end]
    assert version(system, {"role": "user", "placeholder": "messages"}).render({}, []) == [system]


def test_history_is_put_where_its_placeholder_stands() -> None:
    view = version({"role": "system", "content": "s"}, {"placeholder": "history"}, {"role": "user", "content": "{{q}}"})
    said = [{"role": "user", "content": "{{not}} read"}, {"role": "assistant", "content": "b"}]
    assert view.render({"history": said, "q": "c"}, []) == [
        {"role": "system", "content": "s"},
        *said,
        {"role": "user", "content": "c"},
    ]
    assert view.render({"q": "c"}, []) == [{"role": "system", "content": "s"}, {"role": "user", "content": "c"}]
    for wrong in ("text", [{"content": "no role"}], [1]):
        assert refused(view, {"q": "c", "history": wrong})[0::2] == ("invalid_request", "inputs.history")


def test_parts_are_rendered_and_their_types_are_not() -> None:
    parts = [
        {"type": "text", "text": "See {{what}}"},
        {"type": "image_url", "image_url": {"url": "{{url}}", "detail": "low"}},
    ]
    assert version({"role": "user", "content": parts}).render({"what": "it", "url": "https://x/y"}, []) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "See it"},
                {"type": "image_url", "image_url": {"url": "https://x/y", "detail": "low"}},
            ],
        }
    ]


def test_every_missing_input_is_named_at_once() -> None:
    view = version({"role": "system", "content": "{{a}}"}, {"role": "user", "content": "{{b}} {{#l}}{{c}}{{/l}}"})
    assert refused(view, {}) == (
        "missing_inputs",
        "p@1 needs inputs that the call does not give: a, b.",
        "inputs",
    )
    assert refused(view, {"a": "1", "b": "2", "l": [1]})[1] == "p@1 needs an input that the call does not give: c."


SCHEMA = {
    "type": "object",
    "required": ["n"],
    "properties": {
        "n": {"type": "integer", "minimum": 1},
        "text": {"type": "string", "maxLength": 5},
        "tone": {"type": "string", "default": "dry"},
    },
}


def test_inputs_are_held_to_the_schema_and_defaults_fill_in() -> None:
    view = version({"role": "user", "content": "{{n}} {{text}} {{tone}}"}, input_schema=SCHEMA)
    assert view.render({"n": 1, "text": "short"}, []) == [{"role": "user", "content": "1 short dry"}]
    assert refused(view, {"text": "x"})[:2] == (
        "missing_inputs",
        "p@1 needs an input that the call does not give: n.",
    )
    code, message, param = refused(view, {"n": "1", "text": "too long"})
    assert (code, param) == ("invalid_request", "inputs")
    assert message == (
        'The inputs of p@1 are not what it takes: n: "1" is not of type "integer"; '
        'text: "too long" is longer than 5 characters.'
    )


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"messages": [{"role": "user", "content": "{{a"}]}, "opens a tag that is not closed"),
        ({"messages": [], "input_schema": {"type": "nonsense"}}, "nonsense"),
        ({"messages": [], "input_schema": {"$ref": "http://127.0.0.1:9/x.json"}}, "127.0.0.1"),
        ({"messages": [], "input_schema": {"$ref": "file:///etc/passwd"}}, "passwd"),
    ],
)
def test_a_broken_version_breaks_nothing_else_and_says_why(words: dict[str, Any], why: str) -> None:
    view = compile_version("p@1", 1, words)
    assert why in view.broken
    assert refused(view, {})[1] == f"p@1 can't be rendered: {view.broken}"


def test_a_template_of_1500_characters_is_rendered_in_few_steps_however_long_it_is() -> None:
    """Time can't be asserted; steps can: what is fixed was joined when the version was compiled."""

    def steps(words: int) -> int:
        text = (
            "You help {{company}} in {{language}}.\n{{#facts}}- {{.}}\n{{/facts}}"
            + "Be brief and kind. " * words
            + "{{question}}"
        )
        view = version({"role": "system", "content": text}, {"role": "user", "content": "{{question}}"})
        inputs = {"company": "Acme", "language": "English", "facts": ["a", "b", "c"], "question": "Why?"}
        view.render(inputs, [])
        taken = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal taken
            taken += event in ("call", "c_call")

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            view.render(inputs, [])
        finally:
            sys.setprofile(before)
        return taken

    assert steps(75) == steps(750) <= 200
