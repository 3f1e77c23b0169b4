"""A version, compiled: its messages with places for inputs, what its inputs must be, and what it adds to a call.

A message is {role, content}, where content is text or a list of parts; every text in it is a template. A message
{placeholder: NAME} stands for the messages that the caller gives as the input NAME; `messages` stands for those that the
caller sends as the call's own, which otherwise come last.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jsonschema_rs

from gateway.core.errors import InvalidRequest
from prompts.template import Template, TemplateError

PLACEHOLDER_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
LITERAL_KEYS = frozenset({"type", "role", "detail", "format", "mime_type"})
OWN_MESSAGES = "messages"
ERRORS_SHOWN = 20

Fill = Callable[[Mapping[str, Any]], Any]


@lru_cache(maxsize=4096)
def template(source: str) -> Template:
    """The compiled template; the same texts are compiled once."""
    return Template(source)


@dataclass(frozen=True, slots=True)
class MessageView:
    """One message. `fill` gives it for inputs; None where `fixed` is the message as it stands."""

    fixed: dict[str, Any]
    fill: Fill | None = None
    placeholder: str = ""


@dataclass(frozen=True, slots=True)
class VersionView:
    """One version of a prompt. `broken` says why it can't be rendered."""

    name: str  # summary@2, as the record and the header say it
    number: int
    messages: tuple[MessageView, ...] = ()
    route: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    response_format: Mapping[str, Any] | None = None
    tools: tuple[Any, ...] = ()
    required: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    defaults: Mapping[str, Any] | None = None
    schema: Any = None  # a jsonschema_rs validator
    broken: str = ""
    digest: str = ""

    def render(self, inputs: Mapping[str, Any], own: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The messages with these inputs, and the caller's `own` where they belong.

        Raises InvalidRequest: missing_inputs, naming all of them; invalid_request for inputs of another type or size.
        """
        if self.broken:
            raise InvalidRequest(f"{self.name} can't be rendered: {self.broken}", param="prompt")
        if self.defaults:
            inputs = {**self.defaults, **inputs}
        if not (self.required <= inputs.keys()):
            raise missing(self.name, sorted(self.required - inputs.keys()))
        if self.schema is not None:
            check(self.name, self.schema, inputs)
        messages: list[dict[str, Any]] = []
        lacking: list[str] = []
        has_place = False
        for message in self.messages:
            if message.placeholder:
                has_place = has_place or message.placeholder == OWN_MESSAGES
                messages += own if message.placeholder == OWN_MESSAGES else history(message.placeholder, inputs)
            elif message.fill is None:
                messages.append(message.fixed)
            else:
                try:
                    messages.append(message.fill(inputs))
                except KeyError as names:
                    lacking += names.args
                except TemplateError as error:
                    raise InvalidRequest(f"{self.name} can't be rendered: {error}", param="inputs") from None
        if lacking:
            raise missing(self.name, list(dict.fromkeys(lacking)))
        return messages if has_place or not own else messages + own


def missing(name: str, names: list[str]) -> InvalidRequest:
    return InvalidRequest(
        f"{name} needs {'an input' if len(names) == 1 else 'inputs'} that the call does not give: {', '.join(names)}.",
        code="missing_inputs",
        param="inputs",
        hint="Send them as inputs: {…}, or as prompt.variables.",
    )


def check(name: str, schema: Any, inputs: Mapping[str, Any]) -> None:
    """Raises InvalidRequest with every input that is not what the version's schema wants."""
    if schema.is_valid(inputs):
        return
    wrong = []
    for error in schema.iter_errors(inputs):
        where = ".".join(str(step) for step in error.instance_path)
        wrong.append(f"{where}: {shortened(error.message)}" if where else shortened(error.message))
    shown = "; ".join(wrong[:ERRORS_SHOWN])
    raise InvalidRequest(f"The inputs of {name} are not what it takes: {shown}.", param="inputs")


def shortened(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:120]} … {text[-70:]}"


def history(name: str, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages that an input holds. None where it is not given: a conversation begins without history."""
    given = inputs.get(name)
    if given is None:
        return []
    if not isinstance(given, list) or not all(
        isinstance(message, dict) and message.get("role") in PLACEHOLDER_ROLES for message in given
    ):
        raise InvalidRequest(f"The input {name} must be a list of messages, each with a role.", param=f"inputs.{name}")
    return given


def compile_version(name: str, number: int, words: Mapping[str, Any]) -> VersionView:
    """The version, ready to be rendered; a broken one says so when it is asked for, and breaks nothing else.

    words   messages, route, parameters, response_format, tools, input_schema
    """
    try:
        return compiled(name, number, words)
    except (TemplateError, ValueError, TypeError, KeyError) as error:
        return VersionView(name, number, broken=str(error))


def compiled(name: str, number: int, words: Mapping[str, Any]) -> VersionView:
    """The same. Raises TemplateError and ValueError, which say what is wrong."""
    messages = tuple(message_view(message) for message in words["messages"])
    templates = [each for message in words["messages"] for each in templates_in(message)]
    required = frozenset().union(*(each.required for each in templates))
    schema = words.get("input_schema") or {}
    properties = schema.get("properties") or {}
    defaults = {key: value["default"] for key, value in properties.items() if "default" in value}
    return VersionView(
        name=name,
        number=number,
        messages=messages,
        route=words.get("route") or "",
        parameters=dict(words.get("parameters") or {}),
        response_format=words.get("response_format") or None,
        tools=tuple(words.get("tools") or ()),
        required=(required | set(schema.get("required") or ())) - defaults.keys(),
        names=frozenset().union(*(each.names for each in templates)),
        defaults=defaults or None,
        schema=validator(schema) if schema else None,
        digest=words.get("digest") or "",
    )


def validator(schema: Mapping[str, Any]) -> Any:
    """A validator that opens nothing: a reference to another document is refused. Raises ValueError."""
    return jsonschema_rs.validator_for(dict(schema), retriever=refuse, validate_formats=False)


def refuse(uri: str) -> Any:
    raise ValueError(f"an input schema may not refer to {uri}")


def message_view(message: Mapping[str, Any]) -> MessageView:
    if placeholder := message.get("placeholder"):
        return MessageView({}, placeholder=str(placeholder))
    fixed = {key: value for key, value in message.items() if value is not None}
    content = fixed.get("content")
    fill = filling(content)
    if fill is None:
        return MessageView(plain(fixed))
    return MessageView(fixed, lambda inputs: {**fixed, "content": fill(inputs)})


def plain(message: dict[str, Any]) -> dict[str, Any]:
    """A message without inputs: its templates hold only comments and braces."""
    return {**message, "content": written(message["content"], {})} if "content" in message else message


def filling(content: Any) -> Fill | None:
    """What makes a content of inputs; None where it needs none."""
    if isinstance(content, str):
        compiled_text = template(content)
        return compiled_text.render if compiled_text.names else None
    if isinstance(content, list) and any(each.names for each in templates_in({"content": content})):
        return lambda inputs: written(content, inputs)
    return None


def written(value: Any, inputs: Mapping[str, Any], key: str = "") -> Any:
    """A content with every text of it rendered."""
    if isinstance(value, str):
        return value if key in LITERAL_KEYS else template(value).render(inputs)
    if isinstance(value, list):
        return [written(each, inputs) for each in value]
    if isinstance(value, dict):
        return {name: written(each, inputs, name) for name, each in value.items()}
    return value


def templates_in(message: Mapping[str, Any]) -> list[Template]:
    """Every text of a message's content, compiled."""
    found: list[Template] = []

    def walk(value: Any, key: str = "") -> None:
        if isinstance(value, str):
            if key not in LITERAL_KEYS:
                found.append(template(value))
        elif isinstance(value, list):
            for each in value:
                walk(each)
        elif isinstance(value, dict):
            for name, each in value.items():
                walk(each, name)

    walk(message.get("content"))
    return found
