"""Partials: another prompt's text inside a version, fixed to the version that it had when this one was saved."""

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError

from prompts.models import Prompt, PromptVersion
from prompts.queries import current_deployment
from prompts.template import partials_in, put_partials

DEFAULT_CHANNEL = "production"


@dataclass(frozen=True, slots=True)
class Pinned:
    """Messages with their partials put in; `pins` says which version each partial, as written, was."""

    messages: list[dict[str, Any]]
    pins: dict[str, dict[str, Any]]


def pin_partials(prompt: Prompt, messages: list[dict[str, Any]]) -> Pinned:
    """Put the partials in. A partial's own were put in when it was saved, so none can contain itself.

    Raises ValidationError for one that does not exist, or is not one text.
    """
    texts: dict[str, str] = {}
    pins: dict[str, dict[str, Any]] = {}

    def put(value: Any) -> Any:
        if isinstance(value, str):
            for name in partials_in(value):
                if name not in texts:
                    version = find_partial(prompt, name)
                    texts[name] = text_of(version, name)
                    pins[name] = {
                        "prompt": version.prompt.name,
                        "version": version.number,
                        "digest": version.digest,
                    }
            return put_partials(value, texts)
        if isinstance(value, list):
            return [put(each) for each in value]
        if isinstance(value, dict):
            return {key: put(each) for key, each in value.items()}
        return value

    resolved = [
        {**message, "content": put(message["content"])}
        if isinstance(message, dict) and "content" in message
        else message
        for message in messages
    ]
    return Pinned(resolved, pins)


def find_partial(prompt: Prompt, written: str) -> PromptVersion:
    """The version that a partial names: `tone@3`, `tone@staging`; `tone` is production's, else the newest."""
    name, _, which = written.partition("@")
    child = Prompt.objects.filter(workspace_id=prompt.workspace_id, name=name, archived_at=None).first()
    if child is None:
        raise ValidationError({"messages": f"There is no prompt {name} for the partial {{{{>{written}}}}}."})
    number = which.removeprefix("v")
    if number.isdecimal():
        version = child.versions.select_related("prompt").filter(number=int(number)).first()
    else:
        deployment = current_deployment(child, which or DEFAULT_CHANNEL)
        version = deployment.version if deployment is not None else None
        if version is None and not which:
            version = child.versions.select_related("prompt").order_by("-number").first()
    if version is None:
        raise ValidationError({"messages": f"{name} has no version for the partial {{{{>{written}}}}}."})
    return version


def text_of(version: PromptVersion, written: str) -> str:
    messages = version.resolved if version.resolved is not None else version.messages
    if len(messages) != 1 or not isinstance(messages[0].get("content"), str):
        raise ValidationError(
            {"messages": f"{{{{>{written}}}}} must be a prompt of one message of text; {version} is not."}
        )
    return str(messages[0]["content"])
