"""A restricted mustache: text with places for inputs, and nothing that computes.

    {{name}}  {{user.city}}        the input's text, as it is: no escaping, and never read as a template again
    {{#name}} … {{/name}}          for a list once for each item ({{.}} is the item), else once if it is true and not empty
    {{^name}} … {{/name}}          if it is missing, false or empty
    {{>name}}                      another prompt's text, put in when a version is saved (services.publishing)
    {{! a comment }}               nothing
    \\{{                            two braces as they are

A tag of a section, or a comment, that stands alone on its line takes the line with it. Names are looked up in objects by
their keys and in nothing else: no attributes, no calls, no filters. What a template may cost is bounded: its length,
its depth, the steps of a rendering and the length of what comes out.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SOURCE_CHARACTERS_MOST = 400_000
OUTPUT_CHARACTERS_MOST = 8_000_000
DEPTH_MOST = 16
TAGS_MOST = 2_000
STEPS_MOST = 50_000

_TAG = re.compile(
    r"(?P<alone>(?m:^)[ \t]*\{\{\s*[#^/!][^{}]*\}\}[ \t]*(?:\r?\n|\Z))|(?P<braces>\\\{\{)|\{\{(?!\{)(?P<tag>[^{}]*)\}\}"
)
_INSIDE = re.compile(r"\s*([#^/>]?)\s*(\.|[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*)\s*\Z", re.ASCII)
_PARTIAL = re.compile(r"\{\{(?!\{)\s*>\s*([A-Za-z_][\w./-]*(?:@[\w.-]+)?)\s*\}\}", re.ASCII)
_NOTHING = object()

Path = tuple[str, ...]


class TemplateError(ValueError):
    """The template is written wrongly, or what it gives is too long. The message says where."""


@dataclass(frozen=True, slots=True)
class Section:
    path: Path
    children: tuple["Node", ...]
    inverted: bool


@dataclass(frozen=True, slots=True)
class Variable:
    path: Path


Node = str | Variable | Section


class Template:
    """A compiled template. `required` are the inputs without which it can't be rendered, `names` all that it reads."""

    __slots__ = ("_holes", "_nodes", "_parts", "names", "required", "source")

    def __init__(self, source: str) -> None:
        """Raises TemplateError."""
        self.source = source
        self._nodes = parse(source)
        self.required = frozenset(node.path[0] for node in self._nodes if isinstance(node, Variable))
        self.names = frozenset(names_in(self._nodes))
        flat = not any(isinstance(node, Section) for node in self._nodes)
        self._parts: list[str] | None = None
        if flat:
            self._parts = [node if isinstance(node, str) else "" for node in self._nodes]
            self._holes = [(at, node.path) for at, node in enumerate(self._nodes) if isinstance(node, Variable)]

    def render(self, inputs: Mapping[str, Any]) -> str:
        """The text with these inputs. Raises KeyError with the missing names, and TemplateError."""
        if self._parts is None:
            return Rendering(inputs).run(self._nodes)
        if not self._holes:
            return self.source if len(self._parts) == 1 and self._parts[0] == self.source else "".join(self._parts)
        parts, missing = self._parts.copy(), []
        for at, path in self._holes:
            value = inputs.get(path[0], _NOTHING)
            if len(path) > 1:
                value = descend(value, path)
            if type(value) is str:
                parts[at] = value
            elif value is _NOTHING or value is None:
                missing.append(".".join(path))
            else:
                parts[at] = text_of(value)
        if missing:
            raise KeyError(*missing)
        if sum(map(len, parts)) > OUTPUT_CHARACTERS_MOST:
            raise TemplateError(f"the text would be longer than {OUTPUT_CHARACTERS_MOST} characters")
        return "".join(parts)


class Rendering:
    """One rendering of a template with sections."""

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        self.scopes: list[Any] = [inputs]
        self.out: list[str] = []
        self.length = 0
        self.steps = 0
        self.missing: dict[str, None] = {}

    def run(self, nodes: Sequence[Node]) -> str:
        self.walk(nodes)
        if self.missing:
            raise KeyError(*self.missing)
        return "".join(self.out)

    def walk(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            self.steps += 1
            if self.steps > STEPS_MOST:
                raise TemplateError(f"it takes more than {STEPS_MOST} steps with these inputs")
            if isinstance(node, str):
                self.put(node)
            elif isinstance(node, Variable):
                value = self.find(node.path)
                if value is _NOTHING or value is None:
                    self.missing[".".join(node.path)] = None
                else:
                    self.put(text_of(value))
            else:
                self.section(node)

    def section(self, node: Section) -> None:
        value = self.find(node.path)
        given = value is not _NOTHING and bool(value)
        if node.inverted:
            if not given:
                self.walk(node.children)
            return
        if not given:
            return
        items = value if isinstance(value, list) else [value]
        for item in items:
            self.scopes.append(item)
            self.walk(node.children)
            self.scopes.pop()

    def find(self, path: Path) -> Any:
        if path == (".",):
            return self.scopes[-1]
        for scope in reversed(self.scopes):
            if isinstance(scope, Mapping) and path[0] in scope:
                return descend(scope[path[0]], path)
        return _NOTHING

    def put(self, text: str) -> None:
        self.length += len(text)
        if self.length > OUTPUT_CHARACTERS_MOST:
            raise TemplateError(f"the text would be longer than {OUTPUT_CHARACTERS_MOST} characters")
        self.out.append(text)


def descend(value: Any, path: Path) -> Any:
    """The value under the rest of the path, by keys of objects alone."""
    for name in path[1:]:
        if not isinstance(value, dict) or name not in value:
            return _NOTHING
        value = value[name]
    return value


def text_of(value: Any) -> str:
    """How an input stands in a text: a string as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def parse(source: str) -> tuple[Node, ...]:
    """The template's nodes. Raises TemplateError, naming the line."""
    if len(source) > SOURCE_CHARACTERS_MOST:
        raise TemplateError(f"the template is longer than {SOURCE_CHARACTERS_MOST} characters")
    open_sections: list[tuple[str, str, int, list[Node]]] = []
    nodes: list[Node] = []
    for count, (kind, text, at) in enumerate(tokens(source)):
        if count > 2 * TAGS_MOST:
            raise TemplateError(f"the template has more than {TAGS_MOST} tags")
        if kind == "text":
            if text:
                nodes.append(text)
        elif kind == "":
            nodes.append(Variable(path_of(text)))
        elif kind == ">":
            raise TemplateError(f"{line_of(source, at)}: {{{{>{text}}}}} was not put in; save it as a version first")
        elif kind == "/":
            if not open_sections or open_sections[-1][1] != text:
                wanted = f", but {{{{/{open_sections[-1][1]}}}}} must come first" if open_sections else ""
                raise TemplateError(f"{line_of(source, at)}: {{{{/{text}}}}} closes nothing{wanted}")
            sign, name, _, outer = open_sections.pop()
            outer.append(Section(path_of(name), tuple(nodes), sign == "^"))
            nodes = outer
        else:
            open_sections.append((kind, text, at, nodes))
            nodes = []
            if len(open_sections) > DEPTH_MOST:
                raise TemplateError(f"{line_of(source, at)}: sections are nested deeper than {DEPTH_MOST}")
    if open_sections:
        sign, name, at, _ = open_sections[-1]
        raise TemplateError(f"{line_of(source, at)}: {{{{{sign}{name}}}}} is not closed by {{{{/{name}}}}}")
    return tuple(nodes)


def tokens(source: str) -> Iterator[tuple[str, str, int]]:
    """(kind, text, where): kind is "text", "" for a variable, or the sign of the tag."""
    done = 0
    for match in _TAG.finditer(source):
        yield "text", checked(source, done, match.start()), done
        done = match.end()
        if match["braces"]:
            yield "text", "{{", match.start()
            continue
        inside = match["tag"] if match["tag"] is not None else match["alone"].strip()[2:-2]
        if inside.lstrip().startswith("!"):
            continue
        found = _INSIDE.match(inside)
        if found is None and inside.lstrip().startswith(">"):
            yield ">", inside.lstrip()[1:].strip(), match.start()
            continue
        if found is None:
            raise TemplateError(
                f"{line_of(source, match.start())}: {{{{{inside[:60]}}}}} is no tag; a name has letters, digits, _ and -"
            )
        yield found[1], found[2], match.start()
    yield "text", checked(source, done, len(source)), done


def checked(source: str, start: int, end: int) -> str:
    """The text between two tags. Raises TemplateError where a tag begins in it and does not end."""
    text = source[start:end]
    if (at := text.find("{{")) >= 0:
        raise TemplateError(
            f"{line_of(source, start + at)}: {{{{ opens a tag that is not closed; write \\{{{{ for braces"
        )
    return text


def line_of(source: str, at: int) -> str:
    return f"line {source.count(chr(10), 0, at) + 1}"


def path_of(name: str) -> Path:
    return (".",) if name == "." else tuple(name.split("."))


def names_in(nodes: Sequence[Node]) -> Iterator[str]:
    """The first names of all that the nodes read."""
    for node in nodes:
        if isinstance(node, str) or node.path == (".",):
            continue
        yield node.path[0]
        if isinstance(node, Section):
            yield from names_in(node.children)


def partials_in(source: str) -> list[str]:
    """The partials that a text names, as written (`tone`, `tone@3`, `tone@staging`), each once, in order."""
    return list(dict.fromkeys(_PARTIAL.findall(source)))


def put_partials(source: str, texts: Mapping[str, str]) -> str:
    """The text with each partial replaced by its own text; `texts` holds one for each that `partials_in` names."""
    return _PARTIAL.sub(lambda match: texts[match[1]], source)
