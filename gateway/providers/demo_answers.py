"""What the demo provider says: pure functions from a request to an answer in OpenAI's form."""

import base64
import hashlib
import math
import re
import struct
from collections.abc import Iterable
from typing import Any

import msgspec

MARKS = re.compile(r"\s*\[(?:fast|slow|cut|stall|tool|fail \d{3})\]")
WORDS = re.compile(r"[^\W_]+")
PIECES = re.compile(r"\s*\S+|\s+$")
SENTENCE = re.compile(r"(?<=[.!?])\s+")
ECHO = re.compile(r"^\s*(?:say(?: exactly)?|repeat(?: after me)?|echo)\s*:?\s+(.+)$", re.IGNORECASE | re.DOTALL)
SUMMARY = re.compile(r"\bsummari[sz]e\b[^\n:.]*[:.\n]?\s*(.*)$", re.IGNORECASE | re.DOTALL)
CAPITAL = re.compile(r"\bcapital (?:city )?of (?:the )?([\w ]+)", re.IGNORECASE)
SUM = re.compile(r"(-?\d{1,9})\s*([-+*x×])\s*(-?\d{1,9})")
CAPITALS = {
    "france": "Paris",
    "germany": "Berlin",
    "italy": "Rome",
    "japan": "Tokyo",
    "kenya": "Nairobi",
    "mexico": "Mexico City",
    "south africa": "Pretoria, with Cape Town and Bloemfontein",
    "spain": "Madrid",
    "uk": "London",
    "united kingdom": "London",
}
VECTOR_WIDTH = 256
TRIGRAM_WEIGHT = 0.25
MAX_DEPTH = 12


def pieces(text: str) -> list[str]:
    """The text in words with the space before them: what the demo calls a token."""
    return PIECES.findall(text)


def text_of(content: Any) -> str:
    """The text of a message's content."""
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def request_text(body: dict[str, Any]) -> str:
    """The last thing that the user said, or what is to be embedded."""
    messages = body.get("messages") or ()
    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role") == "user":
            return text_of(message.get("content"))
    given = body.get("input")
    return given if isinstance(given, str) else ""


def chat_answer(body: dict[str, Any], *, created: int) -> dict[str, Any]:
    """A whole chat completion. `created` is in Unix seconds."""
    calls = tool_calls(body)
    thought = ""
    if body.get("reasoning_effort") not in (None, "none"):
        thought = "The question is short, so a short and honest answer will do."
    text = "" if calls else ended_at(structured(body) or spoken(body), body.get("stop"))
    said = pieces(text)
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    finish = "tool_calls" if calls else "stop"
    if limit is not None and len(said) > limit:
        said, finish = said[:limit], "length"
    message: dict[str, Any] = {"role": "assistant", "content": "".join(said) if not calls else None, "refusal": None}
    if thought:
        message["reasoning_content"] = thought
    if calls:
        message["tool_calls"] = calls
    count = body.get("n") or 1
    thoughts = len(pieces(thought))
    output = count * (len(said) + thoughts + sum(len(call["function"]["arguments"]) // 4 + 4 for call in calls))
    asked = sum(len(pieces(text_of(m.get("content")))) + 4 for m in body.get("messages") or () if isinstance(m, dict))
    return {
        "id": "chatcmpl-demo-" + digest(msgspec.json.encode(body))[:16],
        "object": "chat.completion",
        "created": created,
        "model": body.get("model", "demo"),
        "choices": [
            {"index": index, "message": message, "logprobs": None, "finish_reason": finish} for index in range(count)
        ],
        "usage": {
            "prompt_tokens": asked,
            "completion_tokens": output,
            "total_tokens": asked + output,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": thoughts * count},
        },
    }


def digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def ended_at(text: str, stop: Any) -> str:
    """The text up to the first stop sequence."""
    for word in [stop] if isinstance(stop, str) else stop or ():
        if isinstance(word, str) and word:
            text = text.split(word, 1)[0]
    return text


def spoken(body: dict[str, Any]) -> str:
    """An answer in words to the last message."""
    messages = [message for message in body.get("messages") or () if isinstance(message, dict)]
    if messages and messages[-1].get("role") == "tool":
        return f"The tool answered: {text_of(messages[-1].get('content'))}"
    text = MARKS.sub("", request_text(body)).strip()
    if found := ECHO.match(text):
        return found[1].strip()
    if (found := SUMMARY.search(text)) and found[1].strip():
        return SENTENCE.split(found[1].strip())[0]
    if (found := CAPITAL.search(text)) and (city := CAPITALS.get(found[1].strip().lower())):
        return f"The capital of {found[1].strip()} is {city}."
    if found := SUM.search(text):
        left, sign, right = int(found[1]), found[2], int(found[3])
        result = left + right if sign == "+" else left - right if sign == "-" else left * right
        return f"{left} {sign} {right} is {result}."
    if not text:
        return "Hello! Send me a message and I will answer it."
    if re.match(r"(hi|hello|hey|good (morning|day|evening))\b", text, re.IGNORECASE):
        return "Hello! I am the demo provider of this gateway. Ask me something."
    topic = " ".join(WORDS.findall(text)[:12])
    return (
        f"You asked about “{topic}”. I am the demo provider: I run inside the gateway and know little, but this answer "
        "was streamed, counted, priced and recorded like any other."
    )


def structured(body: dict[str, Any]) -> str:
    """JSON as response_format asks for it, or "" where it asks for none."""
    asked = body.get("response_format")
    asked = asked if isinstance(asked, dict) else {}
    kind = asked.get("type")
    if kind == "json_object":
        return msgspec.json.encode({"answer": spoken(body)}).decode()
    if kind != "json_schema":
        return ""
    schema = (asked.get("json_schema") or {}).get("schema") or {}
    words = MARKS.sub("", request_text(body)).strip()
    return msgspec.json.encode(sample(schema, schema, words)).decode()


def tool_calls(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The calls to make: of the tool that tool_choice names or requires, or of those that the text speaks of."""
    messages, choice = body.get("messages") or [{}], body.get("tool_choice")
    functions = [tool["function"] for tool in body.get("tools") or () if isinstance(tool, dict) and "function" in tool]
    if not functions or choice == "none" or messages[-1].get("role") == "tool":
        return []
    text = request_text(body)
    if isinstance(choice, dict):
        name = (choice.get("function") or {}).get("name")
        chosen = [function for function in functions if function.get("name") == name]
    else:
        spoken_of = {word.lower() for word in WORDS.findall(text)}
        chosen = [function for function in functions if is_spoken_of(str(function.get("name")), spoken_of)]
        if not chosen and (choice == "required" or "[tool]" in text):
            chosen = functions[:1]
    words = MARKS.sub("", text).strip()
    calls = []
    for function in chosen:
        schema = function.get("parameters") or {}
        arguments = msgspec.json.encode(sample(schema, schema, words)).decode()
        identity = "call_" + digest(f"{function.get('name')}{arguments}".encode())[:24]
        named = {"name": function.get("name"), "arguments": arguments}
        calls.append({"id": identity, "type": "function", "function": named})
    return calls[:1] if body.get("parallel_tool_calls") is False else calls


def is_spoken_of(name: str, words: set[str]) -> bool:
    """Whether the text names the tool, or its last word: "weather" speaks of get_weather."""
    parts = [part.lower() for part in WORDS.findall(name)]
    return bool(parts) and (set(parts) <= words or (len(parts[-1]) > 3 and parts[-1] in words))


def sample(schema: Any, root: dict[str, Any], words: str, depth: int = 0) -> Any:
    """The smallest value that satisfies a JSON schema; a text says what it can of `words`."""
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return None
    if "$ref" in schema:
        return sample(referred(str(schema["$ref"]), root), root, words, depth + 1)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if options := schema.get("enum"):
        return options[0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return sample({**schema, **schema[key][0], key: None}, root, words, depth + 1)
    kind = schema.get("type") or ("object" if "properties" in schema else "string")
    kind = next((one for one in kind if one != "null"), "null") if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties") or {}
        wanted = schema.get("required") or list(properties)
        return {name: sample(properties.get(name) or {}, root, words, depth + 1) for name in wanted}
    if kind == "array":
        count = max(int(schema.get("minItems") or 0), 1) if schema.get("maxItems") != 0 else 0
        return [sample(schema.get("items") or {}, root, words, depth + 1) for _ in range(count)]
    if kind in ("integer", "number"):
        return sample_number(schema, kind, words)
    return True if kind == "boolean" else None if kind == "null" else sample_text(schema, words)


def referred(path: str, root: dict[str, Any]) -> Any:
    """What a reference such as #/$defs/City points at."""
    value: Any = root
    for name in path.removeprefix("#").strip("/").split("/"):
        value = value.get(name.replace("~1", "/").replace("~0", "~")) if name and isinstance(value, dict) else value
    return value


def sample_number(schema: dict[str, Any], kind: str, words: str) -> int | float:
    found = re.search(r"-?\d{1,15}", words)
    value: int | float = int(found[0]) if found else 1
    if "exclusiveMinimum" in schema:
        value = max(value, schema["exclusiveMinimum"] + 1)
    value = max(value, schema.get("minimum", value))
    value = min(value, schema.get("maximum", value))
    if "exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"]:
        value = schema["exclusiveMaximum"] - 1
    if step := schema.get("multipleOf"):
        value = math.ceil(value / step) * step
    return math.ceil(value) if kind == "integer" else value


SHAPED = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
}


def sample_text(schema: dict[str, Any], words: str) -> str:
    if (shaped := SHAPED.get(str(schema.get("format")))) is not None:
        return shaped
    names = re.findall(r"(?<![.!?]\s)(?<!^)\b[A-Z]\w+", words)
    text = names[-1] if names else words or "demo"
    longest, shortest = schema.get("maxLength"), int(schema.get("minLength") or 0)
    return text[:longest].ljust(shortest, "x")


def embeddings_answer(body: dict[str, Any]) -> dict[str, Any]:
    """Embeddings of one text or of many, also of texts given as token numbers."""
    given: Any = body.get("input")
    alone = isinstance(given, str) or (isinstance(given, list) and bool(given) and isinstance(given[0], int))
    asked: list[Any] = [given] if alone else list(given or ())
    texts: list[str] = [text if isinstance(text, str) else " ".join(map(str, text or ())) for text in asked]
    width = body.get("dimensions") or VECTOR_WIDTH
    data: list[dict[str, Any]] = []
    for index, text in enumerate(texts):
        vector: Any = embedding(text, width)
        if body.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{width}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    tokens = sum(len(pieces(text)) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body.get("model", "demo"), "usage": usage}


def embedding(text: str, width: int) -> list[float]:
    """A vector of length 1 in which texts that share words, or parts of words, lie near each other."""
    vector = [0.0] * width
    words = [word.lower() for word in WORDS.findall(text)] or [text]
    for word in words:
        add(vector, [word], 1.0)
        padded = f"^{word}$"
        add(vector, (padded[at : at + 3] for at in range(len(padded) - 2)), TRIGRAM_WEIGHT)
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [value / length for value in vector]


def add(vector: list[float], features: Iterable[str], weight: float) -> None:
    """Add each feature at the place, and with the sign, that its hash gives it."""
    for feature in features:
        place = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "big")
        vector[place % len(vector)] += weight if place >> 63 else -weight
