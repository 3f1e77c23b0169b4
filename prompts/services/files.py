"""Prompts as files, both ways: one Markdown file for each version, `NAME/vN.md`, with front matter and messages.

    ---
    message: asks for plain words
    route: chat
    parameters: {temperature: 0.2}
    digest: 6f1c…                      what it was when it was exported; not needed
    ---
    ## system
    You summarise in one sentence.
    ## user
    Summarise: {{text}}

A message that is more than text (parts, tool calls, placeholders) stands as `## json` with the whole message. A file whose
words are there already under any number is left alone, so that importing twice changes nothing; anything else becomes the
next version. Nothing is ever served because a file says so.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from django.core.exceptions import ValidationError
from django.db import transaction

from prompts.models import Prompt, PromptVersion
from prompts.services.partials import pin_partials
from prompts.services.publishing import save_version
from prompts.services.words import Words, digest_of
from tenants.models import Workspace

ROLES = ("system", "developer", "user", "assistant", "tool")
FIELDS = ("message", "route", "parameters", "response_format", "tools", "input_schema")
_HEADING = re.compile(r"^## (system|developer|user|assistant|tool|json)[ \t]*$", re.MULTILINE)
_FRONT = re.compile(r"\A---\n(.*?\n)?---\n(.*)\Z", re.DOTALL)
_NAME = re.compile(r"v(\d+)\.md\Z")


class FileError(ValueError):
    """A file that can't be read as a prompt's version; the message names it."""


@dataclass(frozen=True, slots=True)
class Written:
    """A version as a file has it."""

    prompt: str
    number: int
    words: Words
    message: str


def text_of(version: PromptVersion) -> str:
    """The version as a file's text."""
    front: dict[str, Any] = {name: getattr(version, name) for name in FIELDS if getattr(version, name)}
    front["digest"] = version.digest
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{head}---\n{''.join(section(message) for message in version.messages)}"


def section(message: dict[str, Any]) -> str:
    content = message.get("content")
    is_plain = set(message) == {"role", "content"} and message["role"] in ROLES
    if is_plain and isinstance(content, str) and not _HEADING.search(content) and "\r" not in content:
        return f"## {message['role']}\n{content}\n"
    return f"## json\n{json.dumps(message, ensure_ascii=False, indent=2)}\n"


def read(prompt: str, number: int, text: str, where: str) -> Written:
    """The version that a file holds. Raises FileError."""
    found = _FRONT.match(text.removeprefix("\ufeff").replace("\r\n", "\n"))
    if found is None:
        raise FileError(f"{where} must begin with front matter between two lines of ---")
    try:
        front = yaml.safe_load(found[1] or "") or {}
    except yaml.YAMLError as error:
        raise FileError(f"{where}: the front matter is no YAML: {error}") from None
    if not isinstance(front, dict) or (unknown := sorted(map(str, front.keys() - {*FIELDS, "digest"}))):
        known = ", ".join(FIELDS)
        raise FileError(
            f"{where}: front matter takes {known}" + (f", not {unknown[0]}" if isinstance(front, dict) else "")
        )
    parts = _HEADING.split(found[2])
    if parts[0].strip():
        raise FileError(f"{where}: text before the first heading; begin with ## system or ## user")
    messages = [as_message(role, body, where) for role, body in zip(parts[1::2], parts[2::2], strict=True)]
    words = Words(
        messages=messages,
        route=front.get("route") or "",
        parameters=front.get("parameters") or {},
        response_format=front.get("response_format"),
        tools=front.get("tools"),
        input_schema=front.get("input_schema") or {},
    )
    return Written(prompt, number, words, str(front.get("message") or ""))


def as_message(role: str, body: str, where: str) -> dict[str, Any]:
    text = body.removeprefix("\n").removesuffix("\n")
    if role != "json":
        return {"role": role, "content": text}
    try:
        message = json.loads(text)
    except ValueError as error:
        raise FileError(f"{where}: a message under ## json is no JSON: {error}") from None
    if not isinstance(message, dict):
        raise FileError(f"{where}: a message under ## json must be an object")
    return message


def export_prompts(*, workspace: Workspace, directory: Path) -> list[Path]:
    """Write every version that has no file with the same text yet; the files that were written."""
    written = []
    versions = PromptVersion.objects.filter(prompt__workspace=workspace, prompt__archived_at=None)
    for version in versions.select_related("prompt").order_by("prompt__name", "number"):
        path = path_of(directory, version.prompt.name, version.number)
        text = text_of(version)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return written


def path_of(directory: Path, name: str, number: int) -> Path:
    """Where a version's file stands. Raises FileError for a name that would lead out of the directory."""
    path = directory / name / f"v{number}.md"
    if not path.resolve().is_relative_to(directory.resolve()):
        raise FileError(f"the prompt {name!r} has a name that is no path below a directory")
    return path


def found_in(directory: Path) -> Iterator[Written]:
    """Every version in the directory's files, by prompt and number. Raises FileError."""
    for path in sorted(directory.rglob("v*.md"), key=lambda each: (str(each.parent), number_of(each))):
        if _NAME.match(path.name):
            prompt = path.parent.relative_to(directory).as_posix()
            yield read(prompt, number_of(path), path.read_text(encoding="utf-8"), str(path))


def number_of(path: Path) -> int:
    found = _NAME.match(path.name)
    return int(found[1]) if found else 0


@transaction.atomic
def import_prompts(*, workspace: Workspace, directory: Path, author: Any = None) -> list[PromptVersion]:
    """Save what is not there yet, each as its prompt's next version; the new versions. All of it or nothing.

    Raises FileError and ValidationError, which name the file.
    """
    saved = []
    for written in found_in(directory):
        prompt = Prompt.objects.filter(workspace=workspace, name=written.prompt).first()
        if prompt is None:
            prompt = Prompt(workspace=workspace, name=written.prompt)
            prompt.full_clean()
            prompt.save()
        try:
            digest = digest_of(written.words, pin_partials(prompt, written.words.messages).pins)
            if prompt.versions.filter(digest=digest).exists() or is_there(prompt, written.words):
                continue
            saved.append(save_version(prompt=prompt, words=written.words, message=written.message, author=author))
        except ValidationError as error:
            raise FileError(f"{written.prompt}/v{written.number}.md: {'; '.join(error.messages)}") from None
    return saved


def is_there(prompt: Prompt, words: Words) -> bool:
    """Whether some version says the same with its partials as they were then."""
    return any(
        version.digest == digest_of(words, version.pins)
        for version in prompt.versions.exclude(pins={}).only("digest", "pins")
    )
