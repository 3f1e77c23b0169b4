"""What the fields of a request's own form must be, checked before anything reads them.

Only what every reader further on counts on: a field that must be a list is one, a message is an object with a role,
what cannot be left out is there. Values are the provider's to judge, and fields that are not named here pass as they
are.
"""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.core.errors import InvalidRequest

Check = Callable[[Any, str], None]


def bad(name: str, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"`{name}` must be {wanted}.", param=name)


def text(value: Any, name: str) -> None:
    if not isinstance(value, str):
        raise bad(name, "a text")


def number(value: Any, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise bad(name, "a number")


def integer(value: Any, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise bad(name, "a whole number")


def positive(value: Any, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise bad(name, "a whole number of at least 1")


def flag(value: Any, name: str) -> None:
    if not isinstance(value, bool):
        raise bad(name, "true or false")


def mapping(value: Any, name: str) -> None:
    if not isinstance(value, dict):
        raise bad(name, "an object")


def inner(value: Mapping[str, Any], name: str, *texts: str) -> None:
    """Each of these fields of an object is a text, where it is there."""
    for field in texts:
        if value.get(field) is not None and not isinstance(value[field], str):
            raise bad(f"{name}.{field}", "a text")


def with_type(value: Any, name: str) -> None:
    mapping(value, name)
    inner(value, name, "type")


def with_effort(value: Any, name: str) -> None:
    mapping(value, name)
    inner(value, name, "effort")
    if value.get("format") is not None:
        with_type(value["format"], f"{name}.format")


def text_or_mapping(value: Any, name: str) -> None:
    if not isinstance(value, (str, dict)):
        raise bad(name, "a text or an object")


def texts(value: Any, name: str) -> None:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise bad(name, "a list of texts")


def text_or_texts(value: Any, name: str) -> None:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise bad(name, "a text or a list of texts")


def objects(value: Any, name: str) -> None:
    if not isinstance(value, list):
        raise bad(name, "a list of objects")
    for index, each in enumerate(value):
        if not isinstance(each, dict):
            raise bad(f"{name}[{index}]", "an object")


def text_or_objects(value: Any, name: str) -> None:
    if not isinstance(value, str):
        objects(value, name)


def tools(value: Any, name: str) -> None:
    """Tools of any kind: a function of OpenAI's has a name; others are the provider's own."""
    objects(value, name)
    for index, each in enumerate(value):
        function = each.get("function")
        if function is not None and not (isinstance(function, dict) and isinstance(function.get("name"), str)):
            raise bad(f"{name}[{index}].function", "an object with a name")
        for schema in ((function or {}).get("parameters"), each.get("parameters"), each.get("input_schema")):
            if schema is not None and not isinstance(schema, dict):
                raise bad(f"{name}[{index}]", "a tool whose parameters are a JSON schema")


def messages(value: Any, name: str) -> None:
    """Turns: objects with a role, whose content is a text or a list of parts with a type."""
    if not isinstance(value, list) or not value:
        raise bad(name, "a list of at least one message")
    for index, each in enumerate(value):
        where = f"{name}[{index}]"
        if not isinstance(each, dict):
            raise bad(where, "an object")
        if not isinstance(each.get("role"), str):
            raise bad(f"{where}.role", "a text such as user")
        content = each.get("content")
        if content is not None and type(content) is not str:
            parts(content, f"{where}.content")
        if each.get("tool_calls") is not None:
            calls(each["tool_calls"], f"{where}.tool_calls")


def parts(value: Any, name: str) -> None:
    if not isinstance(value, list):
        raise bad(name, "a text or a list of parts")
    for index, each in enumerate(value):
        if isinstance(each, dict):
            if not isinstance(each.get("type"), str):
                raise bad(f"{name}[{index}].type", "a text such as text")
            inner(each, f"{name}[{index}]", "text", "thinking", "refusal")
        elif not isinstance(each, str):
            raise bad(f"{name}[{index}]", "an object")


def calls(value: Any, name: str) -> None:
    objects(value, name)
    for index, each in enumerate(value):
        inner(each, f"{name}[{index}]", "id", "type")
        for kind in ("function", "custom"):
            if each.get(kind) is not None:
                mapping(each[kind], f"{name}[{index}].{kind}")


def items(value: Any, name: str) -> None:
    """The input of the responses form: a text, or items, among them messages."""
    if isinstance(value, str):
        return
    objects(value, name)
    if not value:
        raise bad(name, "a text or a list of at least one item")
    for index, each in enumerate(value):
        where = f"{name}[{index}]"
        inner(each, where, "type", "role")
        for field in ("content", "summary"):
            if each.get(field) is not None and (field == "summary" or not isinstance(each[field], str)):
                objects(each[field], f"{where}.{field}")
                parts(each[field], f"{where}.{field}")


def embedded(value: Any, name: str) -> None:
    """What is embedded: a text, texts, token numbers or lists of them; some providers take objects with media too."""
    if isinstance(value, str):
        given: Any = [value]
    elif isinstance(value, list) and value:
        given = value
    else:
        raise bad(name, "a text, or a list of at least one text")
    for index, each in enumerate(given):
        if not each and each != 0:
            raise bad(name if given is not value else f"{name}[{index}]", "a text that is not empty")
        if not isinstance(each, (str, int, dict, list)) or isinstance(each, bool):
            raise bad(f"{name}[{index}]", "a text or token numbers")
        if isinstance(each, list) and not all(type(one) is int for one in each):
            raise bad(f"{name}[{index}]", "a text or token numbers")
    if len({type(each) for each in given}) > 1:
        raise bad(name, "texts or token numbers, not both")


def documents(value: Any, name: str) -> None:
    if not isinstance(value, list) or not value:
        raise bad(name, "a list of at least one document")
    for index, each in enumerate(value):
        text_or_mapping(each, f"{name}[{index}]")


def prompts(value: Any, name: str) -> None:
    if not isinstance(value, (str, list)) or value == []:
        raise bad(name, "a text, or a list of texts or token numbers")


def moderated(value: Any, name: str) -> None:
    if not isinstance(value, (str, list)) or value == []:
        raise bad(name, "a text, or a list of at least one text or part")


def never(value: Any, name: str) -> None:
    """A stream where there is nothing to stream."""
    if value:
        raise InvalidRequest("This endpoint answers in one piece; leave `stream` out.", param=name)


SAMPLING: Mapping[str, Check] = {
    **dict.fromkeys(("temperature", "top_p", "presence_penalty", "frequency_penalty"), number),
    **dict.fromkeys(("seed", "top_k", "top_logprobs"), integer),
}
CHECKS: Mapping[str, Mapping[str, Check]] = {
    "chat": {
        **SAMPLING,
        "messages": messages,
        "stop": text_or_texts,
        "tools": tools,
        "functions": objects,
        **dict.fromkeys(("tool_choice", "function_call"), text_or_mapping),
        "response_format": with_type,
        **dict.fromkeys(("logit_bias", "audio", "web_search_options"), mapping),
        **dict.fromkeys(("reasoning_effort", "service_tier", "verbosity"), text),
        "modalities": texts,
        "parallel_tool_calls": flag,
    },
    "messages": {
        **SAMPLING,
        "messages": messages,
        "system": text_or_objects,
        "stop_sequences": texts,
        "tools": tools,
        **dict.fromkeys(("tool_choice", "thinking", "output_format"), with_type),
        "output_config": with_effort,
        "service_tier": text,
    },
    "responses": {
        **SAMPLING,
        "input": items,
        "include": texts,
        "tools": tools,
        "tool_choice": text_or_mapping,
        **dict.fromkeys(("text", "reasoning"), with_effort),
        **dict.fromkeys(("instructions", "previous_response_id", "service_tier", "truncation"), text),
        "conversation": text_or_mapping,
        "parallel_tool_calls": flag,
    },
    "completions": {
        **SAMPLING,
        "prompt": prompts,
        "stop": text_or_texts,
        "suffix": text,
        "echo": flag,
        "logprobs": integer,
        "logit_bias": mapping,
    },
    "embeddings": {"input": embedded, "dimensions": positive, "encoding_format": text, "stream": never},
    "rerank": {"query": text_or_mapping, "documents": documents, "top_n": positive, "stream": never},
    "moderations": {"input": moderated, "stream": never},
    "images": {"prompt": text},
    "audio_speech": {"input": text},
}
# What must be there, and what may stand in its place.
NEEDED: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "chat": {"messages": ()},
    "messages": {"messages": ()},
    "responses": {"input": ("previous_response_id", "conversation")},
    "completions": {"prompt": ()},
    "embeddings": {"input": ()},
    "rerank": {"query": (), "documents": ()},
    "moderations": {"input": ()},
    "images": {"prompt": ()},
    "audio_speech": {"input": ()},
}
TURNS = frozenset({"chat", "messages", "responses"})  # forms whose turns a prompt can give


def check(body: Mapping[str, Any], form: str, *, prompted: bool) -> None:
    """Raise InvalidRequest, naming the field, where the body is not what its form wants.

    `prompted`: a prompt gives the turns, so the body needs none of its own; an empty list is none.
    """
    checks = CHECKS.get(form)
    if checks is None:
        return
    may_lack = prompted and form in TURNS
    if not may_lack:
        for name, instead in NEEDED[form].items():
            if body.get(name) is None and not any(body.get(other) for other in instead):
                raise InvalidRequest(f"The body must hold `{name}`.", param=name)
    for name, value in body.items():
        if value is not None and (one := checks.get(name)) is not None:
            if value == [] and may_lack and name in NEEDED[form]:
                continue
            one(value, name)
