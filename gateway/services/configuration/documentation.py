"""The tables of docs/configuration.md, made from the schema, so that they can't lag behind it."""

from collections.abc import Iterator

from gateway.services.configuration import kinds
from gateway.services.configuration.kinds import Kind, one_of
from gateway.services.configuration.records import NEEDED, UNTOUCHED, Field, ListOf, MapOf, Record
from gateway.services.configuration.schema import FILE

WORDS: dict[type, str] = {
    kinds.Text: "text",
    kinds.SecretText: "secret",
    kinds.Flag: "true or false",
    kinds.Money: "dollars, in quotes",
    kinds.Moment: "moment or day",
    kinds.TimeZone: "time zone",
    kinds.Network: "address or network",
    kinds.Whole: "whole number",
    kinds.Number: "number",
    MapOf: "mapping",
    Record: "mapping",
}


def tables() -> str:
    """A table for each object of the file, in Markdown."""
    return "\n".join("\n".join(table(path, record)) for path, record in records("", FILE))


def records(path: str, record: Record) -> Iterator[tuple[str, Record]]:
    """Every object that has fields of its own, with the path of its section."""
    yield path, record
    for name, field in record.fields.items():
        kind = field.kind
        while isinstance(kind, (ListOf, MapOf)):
            kind = kind.kind
        if isinstance(kind, Record):
            yield from records(f"{path}.{name}" if path else name, kind)


def table(path: str, record: Record) -> Iterator[str]:
    yield f"### {f'`{path}`' if path else 'The file'}\n"
    yield "| field | is | left out | |"
    yield "|---|---|---|---|"
    for name, field in record.fields.items():
        yield f"| `{name}` | {described(field.kind)} | {default(field)} | {field.help} |"
    yield ""


def described(kind: Kind) -> str:
    """What may stand there, in a few words."""
    if isinstance(kind, kinds.Checked):
        return described(kind.kind)
    if isinstance(kind, kinds.Choice):
        return one_of([f"`{word}`" for word in kind.words])
    if isinstance(kind, ListOf):
        return f"list of {described(kind.kind)}"
    if isinstance(kind, kinds.Free):
        return "mapping" if kind.outer is dict else "any value"
    return WORDS[type(kind)]


def default(field: Field) -> str:
    if field.default is NEEDED:
        return "needed"
    if field.default is UNTOUCHED:
        return "untouched"
    if isinstance(field.default, bool):
        return str(field.default).lower()
    if field.default in (None, "", [], {}):
        return "none"
    return f"`{field.default}`".replace("'", "")
