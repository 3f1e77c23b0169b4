"""Reading a chat request's parts, once for every adapter that translates from it.

Whatever can't be read raises Unsupported with a path such as `messages[2].content[0].image_url`, so that the
caller learns which part it was and another target may take the call.
"""

import base64
import binascii
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec

from gateway.core.errors import InvalidRequest, Unsupported

SYSTEM_ROLES = frozenset({"system", "developer"})
IMAGE_TYPES = {".png": "image/png", ".gif": "image/gif", ".webp": "image/webp", ".jpg": "image/jpeg"}
FILE_TYPES = {
    ".pdf": "application/pdf",
    ".txt": "text/plain",
    ".md": "text/markdown",
    ".csv": "text/csv",
    ".html": "text/html",
    ".doc": "application/msword",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xls": "application/vnd.ms-excel",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    **IMAGE_TYPES,
    ".jpeg": "image/jpeg",
    ".mp4": "video/mp4",
    ".mp3": "audio/mpeg",
    ".wav": "audio/wav",
}


class Media(NamedTuple):
    """An image, file or sound: its base64 data, or where it lies. Exactly one of data, url and file_id is set."""

    media_type: str  # empty where a URL or an id doesn't say
    data: str = ""
    url: str = ""
    file_id: str = ""
    name: str = ""


class Schema(NamedTuple):
    """What the answer must look like; `schema` is None for any JSON object."""

    name: str
    schema: dict[str, Any] | None
    description: str = ""


class ToolChoice(NamedTuple):
    """mode: auto, none, required, or named (then `name` is the tool)."""

    mode: str
    name: str = ""


def messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The request's messages. Raises InvalidRequest unless they are a list of objects with a role."""
    found = body.get("messages")
    if not isinstance(found, list) or not all(isinstance(m, dict) and isinstance(m.get("role"), str) for m in found):
        raise InvalidRequest("messages must be a list of objects, each with a role", param="messages")
    return found


def parts(message: dict[str, Any], where: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The content's parts, each with its path. A string is one text part; nothing gives nothing."""
    content = message.get("content")
    if content is None:
        return
    if isinstance(content, str):
        yield {"type": "text", "text": content}, f"{where}.content"
        return
    if not isinstance(content, list):
        raise InvalidRequest(f"{where}.content must be a string or a list of parts", param=f"{where}.content")
    for index, part in enumerate(content):
        path = f"{where}.content[{index}]"
        if isinstance(part, str):
            yield {"type": "text", "text": part}, path
        elif isinstance(part, dict):
            yield part, path
        else:
            raise InvalidRequest(f"{path} must be an object", param=path)


def text_of(part: dict[str, Any]) -> str | None:
    """The text of a text or refusal part, else None."""
    if part.get("type") in ("text", "input_text", "output_text"):
        return str(part.get("text") or "")
    if part.get("type") == "refusal":
        return str(part.get("refusal") or "")
    return None


def joined_text(message: dict[str, Any], where: str) -> str:
    """All text of a message that may hold nothing else. Raises Unsupported at another part."""
    found = []
    for part, path in parts(message, where):
        text = text_of(part)
        if text is None:
            raise Unsupported(f"{path}: a {message['role']} message holds text only here", param=path)
        found.append(text)
    return "".join(found)


def media(part: dict[str, Any], path: str) -> Media | None:
    """The medium of an image_url, file or input_audio part, else None. Raises InvalidRequest where it is broken."""
    match part.get("type"):
        case "image_url":
            image = part.get("image_url")
            url = image.get("url") if isinstance(image, dict) else image
            return from_url(url, f"{path}.image_url")
        case "video_url":
            video = part.get("video_url")
            url = video.get("url") if isinstance(video, dict) else video
            return from_url(url, f"{path}.video_url")
        case "input_audio":
            audio = part.get("input_audio")
            if not isinstance(audio, dict) or not isinstance(audio.get("data"), str):
                raise InvalidRequest(f"{path}.input_audio needs data and format", param=f"{path}.input_audio")
            kind = str(audio.get("format") or "wav")
            return Media({"mp3": "audio/mpeg", "wav": "audio/wav"}.get(kind, f"audio/{kind}"), data=audio["data"])
        case "file":
            file = part.get("file")
            if not isinstance(file, dict):
                raise InvalidRequest(f"{path}.file must be an object", param=f"{path}.file")
            return from_file(file, f"{path}.file")
    return None


def from_file(file: dict[str, Any], path: str) -> Media:
    """A `file` part: file_data (a data URL or base64), file_url, or file_id."""
    name = str(file.get("filename") or "")
    declared = str(file.get("format") or "")
    if isinstance(file.get("file_data"), str):
        if file["file_data"].startswith("data:"):
            return from_url(file["file_data"], path)._replace(name=name)
        return Media(declared or guessed(name) or "application/pdf", data=file["file_data"], name=name)
    if isinstance(file.get("file_url"), str):
        found = from_url(file["file_url"], path)
        return found._replace(name=name, media_type=declared or found.media_type or guessed(name))
    if isinstance(file.get("file_id"), str):
        return Media(declared or guessed(name), file_id=file["file_id"], name=name)
    raise InvalidRequest(f"{path} needs file_data or file_id", param=path)


def from_url(url: Any, path: str) -> Media:
    """A data URL's medium, or one that lies elsewhere (its type guessed by the path's end, else empty)."""
    if not isinstance(url, str) or not url:
        raise InvalidRequest(f"{path} needs a url", param=path)
    if not url.startswith("data:"):
        return Media(guessed(url.split("?", 1)[0]), url=url)
    head, comma, data = url[5:].partition(",")
    media_type, *flags = head.split(";")
    if not comma:
        raise InvalidRequest(f"{path} is a data URL without a comma", param=path)
    if "base64" not in flags:
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    return Media(media_type or "text/plain", data=data)


def guessed(name: str) -> str:
    """The media type that a file's name suggests, else an empty string."""
    dot = name.rfind(".")
    return FILE_TYPES.get(name[dot:].lower(), "") if dot >= 0 else ""


def plain_text(data: str, path: str) -> str:
    """The text that base64 data holds. Raises InvalidRequest when it is none."""
    try:
        return base64.b64decode(data).decode()
    except (binascii.Error, UnicodeDecodeError) as broken:
        raise InvalidRequest(f"{path} is no base64 of UTF-8 text: {broken}", param=path) from None


def arguments(call: dict[str, Any], path: str) -> tuple[str, dict[str, Any]]:
    """The function's name and its arguments as an object. Raises Unsupported for calls that are no function's."""
    function = call.get("function")
    if call.get("type", "function") != "function" or not isinstance(function, dict):
        raise Unsupported(f"{path}: only function calls can be sent to this provider", param=path)
    given = function.get("arguments")
    if given is None or (isinstance(given, str) and not given.strip()):
        return str(function.get("name") or ""), {}
    try:
        value = msgspec.json.decode(given) if isinstance(given, str) else given
    except msgspec.DecodeError:
        value = None
    if not isinstance(value, dict):
        path = f"{path}.function.arguments"
        raise Unsupported(f"{path} is no JSON object, and this provider takes nothing else", param=path)
    return str(function.get("name") or ""), value


def functions(body: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any], str]]:
    """The request's tools that it may use: (the tool, its function or {} where it is no function, its path).

    Tools that a tool_choice of type allowed_tools leaves out are left out.
    """
    tools = body.get("tools") or []
    if not isinstance(tools, list):
        raise InvalidRequest("tools must be a list", param="tools")
    allowed = None
    asked = body.get("tool_choice")
    if isinstance(asked, dict) and asked.get("type") == "allowed_tools":
        listed = asked.get("allowed_tools", asked).get("tools") or []
        allowed = {(entry.get("function") or entry).get("name") for entry in listed}
    for index, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise InvalidRequest(f"tools[{index}] must be an object", param="tools")
        function = tool.get("function") if tool.get("type") == "function" else {}
        if not isinstance(function, dict):
            raise InvalidRequest(f"tools[{index}].function must be an object", param="tools")
        if allowed is None or not function or function.get("name") in allowed:
            yield tool, function, f"tools[{index}]"


def tool_choice(body: dict[str, Any]) -> ToolChoice | None:
    """What the caller wants of the tools, or None when it said nothing. Raises InvalidRequest at nonsense."""
    asked = body.get("tool_choice")
    if asked is None:
        return None
    if isinstance(asked, str) and asked in ("auto", "none", "required"):
        return ToolChoice(asked)
    if isinstance(asked, dict):
        if asked.get("type") == "function" and isinstance(asked.get("function"), dict):
            return ToolChoice("named", str(asked["function"].get("name") or ""))
        if asked.get("type") == "allowed_tools":
            return ToolChoice(str(asked.get("allowed_tools", asked).get("mode") or "auto"))
    raise InvalidRequest("tool_choice must be auto, none, required or a function", param="tool_choice")


def schema(body: dict[str, Any]) -> Schema | None:
    """The structure that response_format asks for, or None for plain text. Raises InvalidRequest at nonsense."""
    asked = body.get("response_format")
    if asked is None or (isinstance(asked, dict) and asked.get("type") == "text"):
        return None
    if isinstance(asked, dict) and asked.get("type") == "json_object":
        return Schema("answer", None)
    if isinstance(asked, dict) and asked.get("type") == "json_schema" and isinstance(asked.get("json_schema"), dict):
        inner = asked["json_schema"]
        if inner.get("schema") is None or isinstance(inner["schema"], dict):
            return Schema(str(inner.get("name") or "answer"), inner.get("schema"), str(inner.get("description") or ""))
    raise InvalidRequest("response_format must be text, json_object or json_schema", param="response_format")


def stops(body: dict[str, Any]) -> list[str]:
    """The stop sequences, as a list."""
    stop = body.get("stop")
    if stop is None:
        return []
    return [stop] if isinstance(stop, str) else [str(one) for one in stop]


def output_limit(body: dict[str, Any]) -> int | None:
    """The most tokens that the caller lets the answer have, under either of the field's names."""
    for name in ("max_completion_tokens", "max_tokens"):
        limit = body.get(name)
        if limit is not None:
            if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
                raise InvalidRequest(f"{name} must be a whole number of at least 1", param=name)
            return limit
    return None
