"""A chat request written as Gemini's generateContent.

    theirs                                from
    systemInstruction                     system and developer messages
    contents: text, inlineData, fileData  text, image_url, file, input_audio, video_url parts
    functionCall, functionResponse        tool calls and tool messages; theirs want the function's name on both
    thoughtSignature                      extra_content.google.thought_signature on the call or the message
    generationConfig                      temperature, top_p, limits, stop, n, seed, penalties, logprobs
    responseJsonSchema                    response_format
    thinkingConfig                        reasoning_effort: a budget, or from Gemini 3 on a level
    functionCallingConfig                 tool_choice; strict functions ask for mode VALIDATED
    googleSearch                          web_search_options

Tools that are no functions (googleSearch, codeExecution, urlContext, fileSearch …) pass as they are, and so do
safety_settings, cached_content, top_k, labels and model_armor_config.
"""

import re
from typing import Any

import msgspec

from gateway.core.call import Target
from gateway.core.errors import InvalidRequest, Unsupported
from gateway.providers import content, fields

SERVED = frozenset(
    {
        "cached_content",
        "extra_body",
        "frequency_penalty",
        "labels",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "modalities",
        "model_armor_config",
        "n",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "safety_settings",
        "seed",
        "stop",
        "temperature",
        "tool_choice",
        "tools",
        "top_k",
        "top_logprobs",
        "top_p",
        "web_search_options",
    }
)
PLAIN = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "n": "candidateCount",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
NATIVE = {
    "safety_settings": "safetySettings",
    "cached_content": "cachedContent",
    "labels": "labels",
    "model_armor_config": "modelArmorConfig",
}
BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576}
LEVELS = {"none": "minimal", "minimal": "minimal", "low": "low", "medium": "medium", "high": "high", "xhigh": "high"}
WITH_LEVELS = re.compile(r"gemini-([3-9]|\d\d)")
# They refuse a call of Gemini 3 whose signature is missing, e.g. one that another provider made; this stands in for it.
NO_SIGNATURE = "skip_thought_signature_validator"
MODALITIES = frozenset({"text", "image"})


def written(body: dict[str, Any], target: Target) -> dict[str, Any]:
    """The request's body. Raises Unsupported, naming the field."""
    fields.check(body, SERVED, "Gemini")
    system, contents = conversation(content.messages(body), target)
    request: dict[str, Any] = {"contents": contents}
    if system:
        request["systemInstruction"] = {"parts": system}
    config = generation(body)
    put_schema(config, body)
    put_thinking(config, body, target)
    if config:
        request["generationConfig"] = config
    put_tools(request, body)
    for name, theirs in NATIVE.items():
        if body.get(name) is not None:
            request[theirs] = body[name]
    return request


def conversation(messages: list[dict[str, Any]], target: Target) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The system parts and the turns. Neighbours of one role become one turn, as parallel results must."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    names: dict[str, str] = {}  # of the functions called so far, by the call's id
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        role = message["role"]
        if role in content.SYSTEM_ROLES:
            if text := content.joined_text(message, where):
                system.append({"text": text})
            continue
        if role == "user":
            parts = spoken(message, where)
        elif role == "assistant":
            role, parts = "model", answered(message, where, names, target)
        elif role == "tool":
            role, parts = "user", result(message, where, names)
        else:
            raise Unsupported(f"{where}: Gemini has no role {role!r}", param=f"{where}.role")
        if turns and turns[-1]["role"] == role:
            turns[-1]["parts"] += parts
        elif parts:
            turns.append({"role": role, "parts": parts})
    return system, turns or [{"role": "user", "parts": [{"text": ""}]}]


def spoken(message: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """A message's content as their parts, without empty texts."""
    found: list[dict[str, Any]] = []
    for part, path in content.parts(message, where):
        text = content.text_of(part)
        if text is None:
            found.append(medium(part, path))
        elif text:
            found.append({"text": text})
    return found


def medium(part: dict[str, Any], path: str) -> dict[str, Any]:
    """An image, file, sound or video; its type is guessed where a URL doesn't say, because theirs is required."""
    found = content.media(part, path)
    if found is None:
        raise Unsupported(f"{path}: Gemini takes no {part.get('type')!r}", param=path)
    if found.data:
        return {"inlineData": {"mimeType": found.media_type, "data": found.data}}
    fallback = {"image_url": "image/jpeg", "video_url": "video/mp4"}.get(part["type"], "application/pdf")
    return {"fileData": {"mimeType": found.media_type or fallback, "fileUri": found.url or found.file_id}}


def google(holder: dict[str, Any]) -> dict[str, Any]:
    """What an earlier answer of theirs left on a message or a tool call."""
    found = (holder.get("extra_content") or {}).get("google")
    return found if isinstance(found, dict) else {}


def answered(message: dict[str, Any], where: str, names: dict[str, str], target: Target) -> list[dict[str, Any]]:
    """An assistant's turn: hosted tools' parts, text, function calls, each with its signature where it has one."""
    if message.get("audio"):
        raise Unsupported(f"{where}.audio: Gemini takes no earlier audio answers", param=f"{where}.audio")
    found = list(google(message).get("parts") or [])
    texts = spoken(message, where)
    signature = google(message).get("thought_signature")
    if texts and signature:
        texts[-1]["thoughtSignature"] = signature
    found += texts
    for index, call in enumerate(message.get("tool_calls") or []):
        name, given = content.arguments(call, f"{where}.tool_calls[{index}]")
        function: dict[str, Any] = {"name": name, "args": given}
        if call.get("id"):
            function["id"] = call["id"]
            names[call["id"]] = name
        part: dict[str, Any] = {"functionCall": function}
        signature = google(call).get("thought_signature")
        if signature is None and index == 0 and WITH_LEVELS.search(target.upstream):
            signature = NO_SIGNATURE
        if signature:
            part["thoughtSignature"] = signature
        found.append(part)
    return found


def result(message: dict[str, Any], where: str, names: dict[str, str]) -> list[dict[str, Any]]:
    """A function's response: an object as it is, text as {"result": text}; media follow as parts of the turn."""
    call_id = message.get("tool_call_id")
    name = names.get(str(call_id)) or message.get("name")
    if not name:
        raise Unsupported(f"{where}: no call with the id {call_id!r} stands before this result", param=where)
    parts = spoken(message, where)
    text = "".join(part["text"] for part in parts if "text" in part)
    response: Any = {"error": text} if message.get("is_error") else {"result": text}
    if text.startswith("{") and not message.get("is_error"):
        try:
            value = msgspec.json.decode(text)
        except msgspec.DecodeError:
            value = None
        response = value if isinstance(value, dict) else response
    function: dict[str, Any] = {"name": name, "response": response}
    if call_id:
        function["id"] = call_id
    return [{"functionResponse": function}, *(part for part in parts if "text" not in part)]


def generation(body: dict[str, Any]) -> dict[str, Any]:
    """The generationConfig but for schema and thinking."""
    config = {theirs: body[name] for name, theirs in PLAIN.items() if fields.asks(body, name)}
    if (limit := content.output_limit(body)) is not None:
        config["maxOutputTokens"] = limit
    if stop := content.stops(body):
        config["stopSequences"] = stop
    if body.get("logprobs"):
        config["responseLogprobs"] = True
        if body.get("top_logprobs"):
            config["logprobs"] = body["top_logprobs"]
    if fields.asks(body, "modalities"):
        asked = body["modalities"]
        if not isinstance(asked, list) or not MODALITIES.issuperset(asked):
            raise Unsupported("Gemini's chat answers are text or images", param="modalities")
        config["responseModalities"] = [one.upper() for one in asked]
    return config


def put_schema(config: dict[str, Any], body: dict[str, Any]) -> None:
    asked = content.schema(body)
    if asked is not None:
        config["responseMimeType"] = "application/json"
        if asked.schema is not None:
            config["responseJsonSchema"] = asked.schema


def put_thinking(config: dict[str, Any], body: dict[str, Any], target: Target) -> None:
    """reasoning_effort, or thinking_config as Google's own OpenAI form has it."""
    extra = body.get("extra_body")
    asked = extra.get("google") if isinstance(extra, dict) else None
    if isinstance(asked, dict) and isinstance(asked.get("thinking_config"), dict):
        config["thinkingConfig"] = asked["thinking_config"]
        return
    effort = body.get("reasoning_effort")
    if effort is None:
        return
    if effort not in BUDGETS:
        raise InvalidRequest(
            f"reasoning_effort {effort!r} is not one of {', '.join(BUDGETS)}", param="reasoning_effort"
        )
    if WITH_LEVELS.search(target.upstream):
        level = LEVELS[effort]
        if level == "minimal" and "flash" not in target.upstream:
            level = "low"  # their larger models can't think less
        config["thinkingConfig"] = {"thinkingLevel": level, "includeThoughts": effort != "none"}
    else:
        config["thinkingConfig"] = {"thinkingBudget": BUDGETS[effort], "includeThoughts": effort != "none"}


def put_tools(request: dict[str, Any], body: dict[str, Any]) -> None:
    declarations: list[dict[str, Any]] = []
    hosted: list[dict[str, Any]] = []
    strict = False
    for tool, function, path in content.functions(body):
        if not function:
            if "type" in tool:
                raise Unsupported(f"{path}: Gemini has no tools of type {tool['type']!r}", param="tools")
            hosted.append(tool)
            continue
        declared: dict[str, Any] = {"name": function.get("name")}
        if function.get("description") is not None:
            declared["description"] = function["description"]
        if function.get("parameters"):
            declared["parametersJsonSchema"] = function["parameters"]
        strict = strict or bool(function.get("strict"))
        declarations.append(declared)
    if isinstance(body.get("web_search_options"), dict):
        hosted.append({"googleSearch": {}})
    if declarations:
        hosted = [{"functionDeclarations": declarations}, *hosted]
        put_choice(request, content.tool_choice(body), strict=strict)
    if hosted:
        request["tools"] = hosted


def put_choice(request: dict[str, Any], asked: content.ToolChoice | None, *, strict: bool) -> None:
    if asked is None and not strict:
        return
    mode = asked.mode if asked else "auto"
    config: dict[str, Any] = {"mode": {"auto": "AUTO", "none": "NONE"}.get(mode, "ANY")}
    if strict and mode == "auto":
        config["mode"] = "VALIDATED"
    if asked and asked.name:
        config["allowedFunctionNames"] = [asked.name]
    request["toolConfig"] = {"functionCallingConfig": config}
