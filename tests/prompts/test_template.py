"""The template language: what it can say, what it refuses, and that it reaches nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prompts.template import (
    DEPTH_MOST,
    STEPS_MOST,
    Template,
    TemplateError,
    partials_in,
    put_partials,
)


@pytest.mark.parametrize(
    ("source", "inputs", "text"),
    [
        ("Hello {{name}}!", {"name": "Ada"}, "Hello Ada!"),
        ("{{ name }}", {"name": "<b>&'\""}, "<b>&'\""),
        ("{{user.city}}", {"user": {"city": "Oslo"}}, "Oslo"),
        ("{{n}} {{t}} {{l}} {{o}}", {"n": 1.5, "t": True, "l": [1, "é"], "o": {"a": 1}}, '1.5 true [1, "é"] {"a": 1}'),
        ("{{#on}}yes{{/on}}{{^on}}no{{/on}}", {"on": True}, "yes"),
        ("{{#on}}yes{{/on}}{{^on}}no{{/on}}", {}, "no"),
        ("{{#on}}yes{{/on}}{{^on}}no{{/on}}", {"on": ""}, "no"),
        ("{{#all}}[{{.}}]{{/all}}", {"all": ["a", "b"]}, "[a][b]"),
        ("{{#all}}{{name}}:{{tone}} {{/all}}", {"all": [{"name": "a"}, {"name": "b"}], "tone": "dry"}, "a:dry b:dry "),
        ("a\n{{#on}}\nb\n{{/on}}\nc", {"on": True}, "a\nb\nc"),
        ("a{{! said to editors }}b", {}, "ab"),
        ("a\n  {{! a line }}\nb", {}, "a\nb"),
        (r"\{{name}}", {}, "{{name}}"),
        ('{"a":{{{x}}}}', {"x": 1}, '{"a":{1}}'),
        ("no tags } here {", {}, "no tags } here {"),
        ("", {}, ""),
    ],
)
def test_it_renders(source: str, inputs: dict[str, object], text: str) -> None:
    assert Template(source).render(inputs) == text


@pytest.mark.parametrize("value", ["{{secret}}", "{{#x}}", "{{/x}}", "{{>p}}", "\\{{", "{{!", "</script><script>"])
def test_a_value_with_template_syntax_stands_literally(value: str) -> None:
    assert Template("a {{x}} b {{y}}").render({"x": value, "y": value, "secret": "s"}) == f"a {value} b {value}"
    assert Template("{{#x}}a {{.}} b{{/x}}").render({"x": [value]}) == f"a {value} b"


def test_a_value_of_a_megabyte_stands_literally() -> None:
    value = "{{x}}" * 200_000
    assert Template("a {{x}}").render({"x": value}) == f"a {value}"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("a\n{{name", "line 2: {{ opens a tag that is not closed; write \\{{ for braces"),
        ("{{#a}}", "line 1: {{#a}} is not closed by {{/a}}"),
        ("{{#a}}\n{{#b}}{{/a}}{{/b}}", "line 2: {{/a}} closes nothing, but {{/b}} must come first"),
        ("{{/a}}", "line 1: {{/a}} closes nothing"),
        ("{{a b}}", "line 1: {{a b}} is no tag; a name has letters, digits, _ and -"),
        ("{{a|upper}}", "line 1: {{a|upper}} is no tag; a name has letters, digits, _ and -"),
        ("{{a.__class__()}}", "line 1: {{a.__class__()}} is no tag; a name has letters, digits, _ and -"),
        ("{{}}", "line 1: {{}} is no tag; a name has letters, digits, _ and -"),
        ("{{=<% %>=}}", "line 1: {{=<% %>=}} is no tag; a name has letters, digits, _ and -"),
        ("{{>tone}}", "line 1: {{>tone}} was not put in; save it as a version first"),
    ],
)
def test_it_says_where_a_template_is_wrong(source: str, message: str) -> None:
    with pytest.raises(TemplateError) as refused:
        Template(source)
    assert str(refused.value) == message


def test_it_names_every_input_that_is_missing() -> None:
    with pytest.raises(KeyError) as flat:
        Template("{{a}} {{b.c}} {{d}}").render({"b": {}, "d": None})
    assert flat.value.args == ("a", "b.c", "d")
    with pytest.raises(KeyError) as nested:
        Template("{{#x}}{{a}}{{b}}{{/x}}{{c}}").render({"x": [1, 2]})
    assert nested.value.args == ("a", "b", "c")


def test_it_knows_what_it_needs_and_what_it_reads() -> None:
    template = Template("{{a}} {{#b}}{{c.d}}{{/b}} {{^e}}x{{/e}}")
    assert (template.required, template.names) == ({"a"}, {"a", "b", "c", "e"})


@pytest.mark.parametrize(
    "name", ["__class__", "x.__class__", "x.__class__.__mro__", "x.real", "x.upper", "keys", "items"]
)
def test_names_reach_keys_of_objects_and_nothing_else(name: str) -> None:
    with pytest.raises(KeyError):
        Template(f"{{{{{name}}}}}").render({"x": "text"})
    assert Template(f"{{{{^{name}}}}}nothing{{{{/{name}}}}}").render({"x": 1}) == "nothing"


def test_depth_steps_and_length_are_bounded() -> None:
    deep = "".join(f"{{{{#a{at}}}}}" for at in range(DEPTH_MOST + 1))
    with pytest.raises(TemplateError, match="nested deeper"):
        Template(deep)
    loop = Template("{{#a}}{{#a}}{{#a}}{{#a}}x{{/a}}{{/a}}{{/a}}{{/a}}")
    with pytest.raises(TemplateError, match=f"more than {STEPS_MOST} steps"):
        loop.render({"a": list(range(1, 1000))})
    with pytest.raises(TemplateError, match="longer than"):
        Template("{{#a}}{{b}}{{/a}}").render({"a": [1] * 1000, "b": "x" * 100_000})
    with pytest.raises(TemplateError, match="longer than"):
        Template("{{b}}" * 100).render({"b": "x" * 100_000})


def test_partials_are_put_in_by_name_and_their_text_is_not_searched_again() -> None:
    source = "{{>tone}} and {{> team/tone@2 }}"
    assert partials_in(source) == ["tone", "team/tone@2"]
    assert put_partials(source, {"tone": "{{>x}}", "team/tone@2": r"\1"}) == r"{{>x}} and \1"


PIECES = st.sampled_from(
    ["{{", "}}", "{{#a}}", "{{/a}}", "{{^b}}", "{{/b}}", "{{.}}", "{{a.b}}", "\n", " ", "x", "\\{{", "{{!c}}", "{{>p}}"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(source=st.lists(PIECES | st.text(max_size=3), max_size=14).map("".join), a=VALUES, b=VALUES)
def test_whatever_is_written_it_renders_or_says_why_not(source: str, a: object, b: object) -> None:
    try:
        text = Template(source).render({"a": a, "b": b})
    except (TemplateError, KeyError):
        return
    assert isinstance(text, str)
