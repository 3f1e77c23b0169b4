"""The call's own controls: the contract's table, read out of the body and of one header, and checked.

    prompt, inputs, channel                            prompt
    prefer = models = fallback_models                  targets in this order
    cache, cache_enabled, cache_ttl, cache_options     caching; the header Cache-Control says the same
    budget                                             US dollars, a number or a decimal string
    user = customer_identifier = safety_identifier     end user
    metadata (tags, session_id, run_id)                kept on the record
    redact, timeout, drop_unsupported

Each may also stand as `tollgate.NAME`, or inside an object `tollgate`, for clients whose own fields have the same name.
"""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.core.call import Controls
from gateway.core.errors import InvalidRequest
from gateway.core.money import nanos

NAMESPACE = "tollgate"
USER = ("user", "customer_identifier", "safety_identifier")
PREFER = ("prefer", "models", "fallback_models")
CACHE = ("cache", "cache_enabled", "cache_ttl", "cache_options")
OTHERS = ("prompt", "inputs", "channel", "budget", "metadata", "redact", "timeout", "drop_unsupported")
NAMES = frozenset(USER + PREFER + CACHE + OTHERS)

# Forms whose own field has a control's name; there the control stands in the namespace alone.
OWN_FIELDS: Mapping[str, frozenset[str]] = {
    "completions": frozenset({"prompt"}),
    "images": frozenset({"prompt"}),
    "audio_transcriptions": frozenset({"prompt"}),
    "audio_translations": frozenset({"prompt"}),
}
CACHE_MODES = ("off", "exact", "semantic")
LONGEST_TEXT = 512
MAX_TOKENS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
LARGEST_INTEGER = 2**53
MAX_CHOICES = 128
MAX_BUDGET_DOLLARS = 1_000_000
MAX_TIMEOUT_SECONDS = 86_400


def read(body: dict[str, Any], headers: Mapping[str, str], form: str = "chat") -> tuple[Controls, dict[str, Any]]:
    """The controls, and the body without them. Raises InvalidRequest, naming the field, and changes nothing given."""
    check_numbers(body)
    own = OWN_FIELDS.get(form, frozenset())
    given: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, value in body.items():
        if name in NAMES and not is_own(name, value, own):
            put(given, name, value, name)
        elif name == NAMESPACE or name.startswith(f"{NAMESPACE}."):
            for inner, asked in spread(name, value):
                put(given, inner, asked, f"{NAMESPACE}.{inner}")
        else:
            rest[name] = value
    if not given and "cache-control" not in headers:
        return Controls(), rest
    return controls_of(given, headers, form), rest


def is_own(name: str, value: Any, own: frozenset[str]) -> bool:
    """Whether the field is the form's own. A prompt object is a control everywhere: no form has one of its own."""
    return name in own and not (name == "prompt" and isinstance(value, dict))


def spread(name: str, value: Any) -> list[tuple[str, Any]]:
    """The controls in `tollgate` or `tollgate.NAME`."""
    if name == NAMESPACE:
        if not isinstance(value, dict):
            raise InvalidRequest("`tollgate` must be an object of call controls", param=NAMESPACE)
        found = list(value.items())
    else:
        found = [(name.removeprefix(f"{NAMESPACE}."), value)]
    for inner, _ in found:
        if inner not in NAMES:
            known = ", ".join(sorted(NAMES))
            raise InvalidRequest(
                f"there is no call control `{NAMESPACE}.{inner}`; there are: {known}", param=f"{NAMESPACE}.{inner}"
            )
    return found


def put(given: dict[str, Any], name: str, value: Any, said: str) -> None:
    if value is None:
        return
    if name in given and given[name] != value:
        raise InvalidRequest(f"`{said}` contradicts `{name}`, which stands in the body too", param=said)
    given[name] = value


def controls_of(given: Mapping[str, Any], headers: Mapping[str, str], form: str) -> Controls:
    metadata = mapping(given, "metadata") or {}
    controls = Controls(
        prompt=prompt_of(given.get("prompt")),
        inputs=inputs_of(given),
        channel=text(given, "channel") or None,
        prefer=one_of(given, PREFER, names) or (),
        user=one_of(given, USER, text) or "",
        budget_nanos=budget_of(given.get("budget")),
        metadata=metadata,
        tags=tags_of(metadata.get("tags")),
        session_id=text(metadata, "session_id", "metadata.session_id"),
        run_id=text(metadata, "run_id", "metadata.run_id"),
        redact=names(given, "redact"),
        timeout_s=timeout_of(given.get("timeout")),
        drop_unsupported=flag(given, "drop_unsupported") or False,
    )
    if form == "messages" and not controls.user:  # Anthropic's own place for it
        controls.user = text(metadata, "user_id", "metadata.user_id")
    read_cache(given, headers, controls)
    return controls


def one_of(given: Mapping[str, Any], aliases: tuple[str, ...], parse: Callable[[Mapping[str, Any], str], Any]) -> Any:
    """The value under any of a control's names. Raises InvalidRequest when two of them differ."""
    found: list[tuple[str, Any]] = [(name, parse(given, name)) for name in aliases if name in given]
    for name, value in found[1:]:
        if value != found[0][1]:
            raise InvalidRequest(f"`{name}` and `{found[0][0]}` mean the same and differ: send one of them", param=name)
    return found[0][1] if found else None


def text(given: Mapping[str, Any], name: str, said: str = "") -> str:
    """A short text; a number is taken as one."""
    value = given.get(name, "")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        said = said or name
        raise InvalidRequest(f"`{said}` must be a text of at most {LONGEST_TEXT} characters", param=said)
    return value


def names(given: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list of names; one name alone may stand without the list."""
    value = given.get(name, ())
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) and one for one in value):
        raise InvalidRequest(f"`{name}` must be a list of names", param=name)
    return tuple(value)


def mapping(given: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    value = given.get(name)
    if value is not None and not isinstance(value, dict):
        raise InvalidRequest(f"`{name}` must be an object", param=name)
    return value


def flag(given: Mapping[str, Any], name: str, said: str = "") -> bool | None:
    value = given.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidRequest(f"`{said or name}` must be true or false", param=said or name)
    return value


def seconds(value: Any, name: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_INTEGER:
        raise InvalidRequest(f"`{name}` must be a whole number of seconds, 0 or more", param=name)
    return value


def prompt_of(value: Any) -> Any:
    """A prompt's name with its channel or version, or OpenAI's prompt object."""
    if value is None or (isinstance(value, str) and value):
        return value
    if not isinstance(value, dict):
        raise InvalidRequest("`prompt` must be a text such as summary@production, or an object", param="prompt")
    if not isinstance(value.get("id"), str) or not value["id"]:
        raise InvalidRequest("`prompt.id` must name a prompt", param="prompt.id")
    version = value.get("version")
    if version is not None and (isinstance(version, bool) or not isinstance(version, (int, str))):
        raise InvalidRequest("`prompt.version` must be a number or a name", param="prompt.version")
    if value.get("variables") is not None and not isinstance(value["variables"], dict):
        raise InvalidRequest("`prompt.variables` must be an object", param="prompt.variables")
    return value


def inputs_of(given: Mapping[str, Any]) -> dict[str, Any] | None:
    inputs, prompt = mapping(given, "inputs"), given.get("prompt")
    variables = prompt.get("variables") if isinstance(prompt, dict) else None
    if inputs is None or variables is None:
        return inputs if variables is None else variables
    for name in inputs.keys() & variables.keys():
        if inputs[name] != variables[name]:
            raise InvalidRequest(f"`inputs` and `prompt.variables` both give {name}, and differ", param="inputs")
    return {**variables, **inputs}


def budget_of(value: Any) -> int | None:
    """Nano-dollars. A JSON number is read by its shortest decimal form, so that 0.05 is five cents exactly."""
    if value is None:
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        amount = nanos(repr(value) if isinstance(value, float) else value)
    except (ValueError, OverflowError):
        amount = -1
    if not 0 <= amount <= nanos(MAX_BUDGET_DOLLARS):
        raise InvalidRequest("`budget` must be an amount of US dollars, 0 or more, such as 0.05", param="budget")
    return amount


def timeout_of(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= MAX_TIMEOUT_SECONDS:
        raise InvalidRequest("`timeout` must be a number of seconds greater than 0", param="timeout")
    return float(value)


def tags_of(value: Any) -> tuple[str, ...]:
    if isinstance(value, dict):
        return tuple(f"{name}:{inner}" for name, inner in value.items())
    return names({"metadata.tags": value if value is not None else ()}, "metadata.tags")


def read_cache(given: Mapping[str, Any], headers: Mapping[str, str], controls: Controls) -> None:
    """Put what the body and the header say about caching into `controls`.

    `cache_enabled: true` is "on": as the route caches, or exact where it does not.
    """
    mode, enabled = given.get("cache"), flag(given, "cache_enabled")
    if mode is not None and mode not in CACHE_MODES:
        raise InvalidRequest(f"`cache` must be one of {', '.join(CACHE_MODES)}", param="cache")
    if enabled is not None and mode is not None and enabled is (mode == "off"):
        raise InvalidRequest("`cache_enabled` and `cache` contradict each other: send one of them", param="cache")
    if mode is None and enabled is not None:
        mode = "on" if enabled else "off"
    options = mapping(given, "cache_options") or {}
    if unknown := options.keys() - {"cache_by_customer", "force_refresh"}:
        name = f"cache_options.{sorted(unknown)[0]}"
        raise InvalidRequest(f"there is no `{name}`; there are cache_by_customer and force_refresh", param=name)
    controls.cache = mode
    controls.cache_ttl_s = seconds(given.get("cache_ttl"), "cache_ttl")
    controls.cache_by_customer = flag(options, "cache_by_customer", "cache_options.cache_by_customer") or False
    controls.force_refresh = flag(options, "force_refresh", "cache_options.force_refresh") or False
    for directive in headers.get("cache-control", "").lower().split(","):
        name, _, value = directive.strip().partition("=")
        if name == "no-store":
            controls.no_store = True
        elif name == "no-cache":
            controls.force_refresh = True
        elif name == "max-age" and value.strip('"').isascii() and value.strip('"').isdecimal():
            age = min(int(value.strip('"')[:12]), LARGEST_INTEGER)
            if controls.cache_ttl_s is not None and controls.cache_ttl_s != age:
                raise InvalidRequest("`cache_ttl` and the header Cache-Control: max-age differ", param="cache_ttl")
            controls.cache_ttl_s = age
    if controls.no_store and mode in ("on", "exact", "semantic"):
        raise InvalidRequest("`cache` and the header Cache-Control: no-store contradict each other", param="cache")


def check_numbers(body: Mapping[str, Any]) -> None:
    """Refuse numbers that a budget could not be held by. Raises InvalidRequest naming the field."""
    found = 0
    for name in MAX_TOKENS:
        value = body.get(name)
        if value is None:
            continue
        found += 1
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < LARGEST_INTEGER:
            raise InvalidRequest(f"`{name}` must be a whole number of at least 1", param=name)
    if found > 1 and body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        raise InvalidRequest("send `max_tokens` or `max_completion_tokens`, not both", param="max_tokens")
    for name in ("n", "best_of"):
        value = body.get(name)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_CHOICES
        ):
            raise InvalidRequest(f"`{name}` must be a whole number from 1 to {MAX_CHOICES}", param=name)
    for name in ("stream", "background", "store"):
        if name in body:
            flag(body, name)
