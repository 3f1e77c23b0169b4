"""Writes AWS event streams, as the tests' upstream sends them. botocore reads them too (see test_eventstream)."""

import json
import struct
from typing import Any
from zlib import crc32


def frame(payload: bytes, **headers: str) -> bytes:
    block = b"".join(
        bytes([len(name) + 1])
        + f":{name.replace('_', '-')}".encode()
        + b"\x07"
        + struct.pack(">H", len(value.encode()))
        + value.encode()
        for name, value in headers.items()
    )
    head = struct.pack(">II", len(block) + len(payload) + 16, len(block))
    head += struct.pack(">I", crc32(head))
    return head + block + payload + struct.pack(">I", crc32(head + block + payload))


def event(name: str, fields: dict[str, Any]) -> bytes:
    payload = json.dumps(fields).encode()
    return frame(payload, event_type=name, content_type="application/json", message_type="event")


def exception(name: str, message: str) -> bytes:
    return frame(json.dumps({"message": message}).encode(), exception_type=name, message_type="exception")


def converse(answer: dict[str, Any], *, piece: int = 7) -> bytes:
    """A whole Converse answer as the stream that would have carried it, in pieces of so many characters."""
    found = [event("messageStart", {"role": "assistant"})]
    for index, block in enumerate(answer["output"]["message"]["content"]):
        if "toolUse" in block:
            used = block["toolUse"]
            start = {"toolUse": {"toolUseId": used["toolUseId"], "name": used["name"]}}
            found.append(event("contentBlockStart", {"contentBlockIndex": index, "start": start}))
            text = json.dumps(used["input"])
            deltas = [{"toolUse": {"input": text[at : at + piece]}} for at in range(0, len(text), piece)]
        elif "text" in block:
            deltas = [{"text": block["text"][at : at + piece]} for at in range(0, len(block["text"]), piece)]
        else:
            inner = block["reasoningContent"]["reasoningText"]
            text = inner["text"]
            deltas = [{"reasoningContent": {"text": text[at : at + piece]}} for at in range(0, len(text), piece)]
            if "signature" in inner:
                deltas.append({"reasoningContent": {"signature": inner["signature"]}})
        found += [event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta}) for delta in deltas]
        found.append(event("contentBlockStop", {"contentBlockIndex": index}))
    found.append(event("messageStop", {"stopReason": answer["stopReason"]}))
    found.append(event("metadata", {"usage": answer["usage"], "metrics": answer.get("metrics", {})}))
    return b"".join(found)
