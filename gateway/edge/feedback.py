"""POST /v1/feedback: what somebody thinks of an answer."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gateway.core.call import Call
from gateway.core.errors import InvalidRequest, NotFound

Keep = Callable[..., Mapping[str, Any]]  # keeps one opinion; raises LookupError and ValueError
FIELDS = {"call_id": str, "score": (int, float), "label": str, "comment": str}
TRIES, PAUSE_SECONDS = 20, 0.1  # a call's record is in the database within moments of its answer


async def give(call: Call, body: Mapping[str, Any], keep: Keep) -> bytes:
    """Keep what the body says of a call of the caller's workspace. Raises InvalidRequest and NotFound."""
    for name, value in body.items():
        if name not in FIELDS:
            raise InvalidRequest(f"{name} is no field of feedback; it takes {', '.join(FIELDS)}.", param=name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, FIELDS[name])):  # type: ignore[arg-type]
            raise InvalidRequest(f"{name} is of the wrong type.", param=name)
    given = {name: value for name, value in body.items() if value is not None}
    if not given.get("call_id"):
        raise InvalidRequest("Feedback needs the call_id of an answer: its x-request-id.", param="call_id")
    assert call.caller is not None
    given["by"] = call.caller.key
    for left in reversed(range(TRIES)):
        try:
            kept = await asyncio.to_thread(keep, workspace_id=call.caller.workspace_id, **given)
        except LookupError:
            if not left:
                raise NotFound(f"There is no call {given['call_id']!r} in your workspace.", param="call_id") from None
            await asyncio.sleep(PAUSE_SECONDS)
        except ValueError as error:
            raise InvalidRequest(f"{error}.") from None
        else:
            return msgspec.json.encode(kept)
    raise AssertionError("the last try answers or raises")
