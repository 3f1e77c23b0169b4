"""What the fault-injecting upstream shall do with one request.

A script comes to a request from the first of these that has one:

1. the request itself: a user message that is a JSON object with the key "upstream", e.g.
   `{"upstream": {"fault": "status", "status": 503}}`, or per model
   `{"upstream": {"gpt-a": {"fault": "reset"}, "*": {}}}`;
2. the queue of scripts that a test set (`upstream.once`), one for each request;
3. the script of its credential, then of its model (`upstream.for_key`, `upstream.for_model`);
4. the server's default (`upstream.always`).

Faults

    reset            the connection is reset                          at: headers, first_token, or the k-th token
    hang             nothing more comes                               at: headers, first_token, or the k-th token
    status           an error in OpenAI's shape with `status`, `retry_after`, `code`, `message`
    html             200 with a web page                              garbage: 200 with bytes that are no JSON
    empty            200 with nothing                                 truncated_json: 200 with half of the JSON
    cut              the connection ends before token k (a whole answer: before the announced length)
    cut_clean        the stream ends properly before token k, but without finish and [DONE]
    garbage_event    an event that is no JSON before token k, then the stream goes on
    error_event      an error object as an event before token k
    giant_event      one event of `size` bytes before token k
    comments         `size` comment lines before token k
    gzip_bomb        `size` zero bytes, gzipped, with content-encoding: gzip although nobody asked
    redirect         302 to `location`
    unlimited        tokens without end, whatever max_tokens says
    raw              `status`, `headers` and `body` as given: a recording
"""

import json
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(slots=True)
class Script:
    """One request's script. Times are seconds; `at` is "headers", "first_token" or the number of a token (from 0)."""

    fault: str = ""
    at: str | int = "headers"
    status: int = 500
    code: str = ""
    message: str = ""
    retry_after: float | str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: str | bytes = b""
    location: str = "http://127.0.0.1:9/elsewhere"
    size: int = 1_000_000

    tokens: int = 12  # of the answer, where `text` is not given
    text: str = ""
    finish: str = "stop"
    tool_calls: list[dict[str, Any]] | None = None
    delay_s: float = 0.0  # before the answer begins
    token_delay_s: float = 0.0  # before each token
    slice_at: int | None = None  # each event is written in two pieces, cut at this byte
    drip_bytes: int | None = None  # the answer is written in pieces of so many bytes …
    drip_s: float = 0.01  # … with so long between them
    usage: Any = "normal"  # normal, none, zero, twice, early (only in an earlier chunk), or the object itself
    done: bool = True  # False: no [DONE] at the end
    ignore_max_tokens: bool = False
    bill: str = ""  # "full": the meter charges the whole answer although a fault came first

    def from_token(self) -> int | None:
        """The token before which the fault strikes; None when it strikes before the answer's head."""
        if self.at == "headers":
            return None
        return 0 if self.at == "first_token" else int(self.at)


NAMES = frozenset(f.name for f in fields(Script))


def script(value: "dict[str, Any] | Script") -> Script:
    """A script of its JSON form. Raises ValueError for unknown names: a misspelt fault must not pass as none."""
    if isinstance(value, Script):
        return value
    if unknown := set(value) - NAMES:
        raise ValueError(f"no such field of a script: {', '.join(sorted(unknown))}")
    return Script(**value)


def script_in(body: dict[str, Any], model: str) -> Script | None:
    """The script that the request brings itself, or None."""
    for message in reversed(body.get("messages") or []):
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, str) or '"upstream"' not in content:
            continue
        try:
            found = json.loads(content)["upstream"]
        except (ValueError, KeyError, TypeError):
            continue
        if set(found) <= NAMES:
            return script(found)
        chosen = found.get(model, found.get("*"))
        return None if chosen is None else script(chosen)
    return None
