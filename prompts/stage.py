"""Putting the words of a prompt into a call: which version, in which words, and what else the version says."""

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from gateway.core.call import Call
from gateway.core.conditions import METADATA
from gateway.core.errors import InvalidRequest, NotFound
from gateway.core.forms import Form, Writer
from prompts.rendering import VersionView
from prompts.snapshot import ArmView, ExperimentView, PromptsSnapshot, PromptView

if TYPE_CHECKING:
    from gateway.core.call import Delta
    from gateway.core.errors import GatewayError

DEFAULT_CHANNEL = "production"
MODEL_PREFIX = "prompt/"
PLACES = 10_000
NAMES_SHOWN = 20
# The field in which each form's own messages stand, and what it holds where the caller sends none.
OWN: Mapping[str, tuple[str, Any]] = {
    "chat": ("messages", []),
    "responses": ("input", []),
    "messages": ("messages", []),
    "completions": ("prompt", ""),
}
OUTPUT_LIMITS = frozenset({"max_tokens", "max_completion_tokens"})  # two names of one thing
_NUMBER = re.compile(r"v?([0-9]{1,9})\Z")


def render(call: Call, prompts: PromptsSnapshot) -> None:
    """Render the prompt that the call asks for; a call that asks for none is left alone.

    From here on the call is a chat completion, whatever form its caller speaks and is answered in. What the caller sends
    goes before what the version says: parameters, tools, response_format, and the model before the version's route.

    Raises NotFound (prompt_not_found) and InvalidRequest (missing_inputs, invalid_request).
    """
    controls = call.controls
    asked = controls.prompt
    if asked is None and call.model.startswith(MODEL_PREFIX):
        asked = call.model.removeprefix(MODEL_PREFIX)
    if asked is None:
        if controls.inputs is not None or controls.channel is not None:
            field = "inputs" if controls.inputs is not None else "channel"
            raise InvalidRequest(f"`{field}` is for a prompt, and the call names none in `prompt`.", param=field)
        return
    name, which = parsed(asked)
    version = version_of(call, find(call, prompts, name), choose(call, which))
    call.prompt = version.name
    body, own = canonical(call)
    messages = version.render(controls.inputs or {}, own)
    if not messages:
        raise InvalidRequest(f"{version.name} gives no messages, and the call sends none.", param="messages")
    if not call.model or call.model.startswith(MODEL_PREFIX):
        if not version.route:
            raise InvalidRequest(
                f"{version.name} names no route, so the call must name a model.", param="model", hint="Send model."
            )
        call.model = version.route
    filled_in = filled(body, version)
    filled_in["model"], filled_in["messages"] = call.model, messages
    call.body = call.chat = filled_in
    if call.form.name != "chat":
        call.form = AsChat(call.form)


def parsed(asked: Any) -> tuple[str, str]:
    """The prompt's name, and its version or channel; "" where none is named."""
    if isinstance(asked, str):
        name, at, which = asked.rpartition("@")
        return (name, which) if at else (asked, "")
    name, which = parsed(asked["id"])
    given = "" if asked.get("version") is None else str(asked["version"])
    channel = asked.get("channel")
    if channel is not None and not isinstance(channel, str):
        raise InvalidRequest("`prompt.channel` must be a text", param="prompt.channel")
    for other in (given, channel or ""):
        if which and other and other != which:
            raise InvalidRequest(f"`prompt` asks for {which} and for {other}; send one of them", param="prompt")
        which = which or other
    return name, which


def choose(call: Call, which: str) -> str:
    """The version or channel that is asked for. Raises InvalidRequest where `prompt` and `channel` differ."""
    channel = call.controls.channel
    if channel is None:
        return which or DEFAULT_CHANNEL
    if which and which != channel:
        raise InvalidRequest(
            f"`prompt` asks for {which} and `channel` for {channel}; send one of them", param="channel"
        )
    return channel


def find(call: Call, prompts: PromptsSnapshot, name: str) -> PromptView:
    workspace = call.caller.workspace_id if call.caller is not None else ""
    prompt = prompts.prompts.get(workspace, {}).get(name)
    if prompt is None:
        raise NotFound(
            f"This workspace has no prompt {name!r}.",
            code="prompt_not_found",
            param="prompt",
            hint="Check the name, and that the key belongs to the prompt's workspace.",
        )
    return prompt


def version_of(call: Call, prompt: PromptView, which: str) -> VersionView:
    """The version of this number, or the one that the channel of this name serves this call. Raises NotFound."""
    number = _NUMBER.match(which)
    if number is not None:
        version = prompt.versions.get(int(number[1]))
        if version is None:
            raise not_found(f"{prompt.name} has no version {number[1]}", prompt.versions)
        return version
    channel = prompt.channels.get(which)
    if channel is None:
        raise not_found(f"{prompt.name} serves nothing on the channel {which!r}", prompt.channels)
    if channel.experiment is not None:
        arm, is_counted = arm_for(call, channel.experiment)
        if is_counted:
            call.experiment = f"{channel.experiment.name}/{arm.name}"
        return prompt.versions[arm.version]
    return prompt.versions[channel.version]


def is_number(which: str) -> bool:
    """Whether a text names a version (2, v2) and not a channel."""
    return _NUMBER.match(which) is not None


def not_found(message: str, known: Mapping[Any, Any]) -> NotFound:
    names = sorted(known)[-NAMES_SHOWN:]
    shown = f"There are: {', '.join(map(str, names))}." if names else "There are none yet."
    return NotFound(f"{message}.", code="prompt_not_found", param="prompt", hint=shown)


def arm_for(call: Call, experiment: ExperimentView) -> tuple[ArmView, bool]:
    """The arm that this call's unit always gets, and whether it counts.

    A call without its unit, or that may not take part, gets the first arm and does not count.
    """
    unit = unit_of(call, experiment.unit)
    if not unit or not all(test(fact(call, field)) for field, test in experiment.eligible):
        return experiment.arms[0], False
    at = place(experiment.salt, unit)
    for arm in experiment.arms:
        if any(start <= at < end for start, end in arm.ranges):
            return arm, True
    return experiment.arms[0], False


def unit_of(call: Call, unit: str) -> str:
    if unit == "user":
        return call.controls.user
    if unit == "session":
        return call.controls.session_id
    return call.caller.key_id if call.caller is not None else ""


def fact(call: Call, field: str) -> tuple[str, ...]:
    """What a condition on who takes part asks of a call: the values of the field, none where it has none."""
    caller, controls = call.caller, call.controls
    if field.startswith(METADATA):
        value = controls.metadata.get(field.removeprefix(METADATA))
        found: tuple[Any, ...] = tuple(value) if isinstance(value, list) else () if value is None else (value,)
        return tuple("true" if each is True else "false" if each is False else str(each) for each in found)
    if field == "tag":
        return tuple(controls.tags)
    known = {
        "user": controls.user,
        "form": call.form.name,
        "key": caller.key if caller is not None else "",
        "team": caller.team if caller is not None else "",
        "workspace": caller.workspace if caller is not None else "",
    }
    return (known[field],) if known[field] else ()


def place(salt: str, unit: str) -> int:
    """Where a unit stands among 10,000 places: the same on every machine, for ever."""
    return int.from_bytes(sha256(f"{salt}|{unit}".encode("utf-8", "surrogatepass")).digest()[:8]) % PLACES


def canonical(call: Call) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The call's body as chat completions, and the messages that the caller sends. Raises InvalidRequest."""
    form = call.form.name
    if form not in OWN:
        raise InvalidRequest(
            "This endpoint takes no prompt; chat, responses, messages and completions do.", param="prompt"
        )
    field, nothing = OWN[form]
    given = call.body.get(field)
    body = call.form.chat(call.body if given is not None else {**call.body, field: nothing})
    if form == "completions" and given is None:
        return body, []
    own = body.get("messages")
    if not isinstance(own, list):
        raise own_messages_wanted()
    for message in own:
        if not isinstance(message, dict):
            raise own_messages_wanted()
    return body, own


def own_messages_wanted() -> InvalidRequest:
    return InvalidRequest("messages must be a list of objects, or left out.", param="messages")


def filled(body: dict[str, Any], version: VersionView) -> dict[str, Any]:
    """The body with what the version says wherever the caller says nothing."""
    result = dict(body)
    limited = any(body.get(name) is not None for name in OUTPUT_LIMITS) if version.parameters else False
    for name, value in version.parameters.items():
        if body.get(name) is None and not (limited and name in OUTPUT_LIMITS):
            result[name] = value
    if version.tools and body.get("tools") is None:
        result["tools"] = list(version.tools)
    if version.response_format is not None and body.get("response_format") is None:
        result["response_format"] = version.response_format
    return result


class AsChat:
    """The form of a rendered call: canonical on its way to the provider, and still the caller's own on its way back."""

    name = "chat"

    def __init__(self, form: Form) -> None:
        self.spoken = form

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        return body

    def whole(self, call: Call, delta: "Delta") -> bytes:
        return self.spoken.whole(call, delta)

    def writer(self, call: Call) -> Writer:
        return self.spoken.writer(call)

    def error(self, error: "GatewayError", call_id: str) -> bytes:
        return self.spoken.error(error, call_id)
