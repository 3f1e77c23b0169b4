"""Which rate limits a call must pass, what it asks of them, and how a refusal reads."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from msgspec.structs import replace

from gateway.core.bounds import asked_output, choices, measured
from gateway.core.call import Call, Caller
from gateway.core.counters import Admitted, Crowded, Rate, Standing
from gateway.core.errors import InvalidRequest, RateLimited
from tenants.snapshot import LimitView, TenantsSnapshot

HEADERS = {
    unit: (f"x-ratelimit-limit-{unit}", f"x-ratelimit-remaining-{unit}", f"x-ratelimit-reset-{unit}")
    for unit in ("requests", "tokens")
}
WINDOW_NAME = {1_000: "second", 60_000: "minute", 3_600_000: "hour", 86_400_000: "day"}
OUTPUT_TOKENS_MOST = 4096  # reserved of a token limit where the caller does not say how long the answer may be
OUTPUT_TOKENS_LEAST = 256
OUTPUT_SHARE = 64
CALIBRATED_BYTES_PER_TOKEN = 2
KEPT_MOST = 16_384  # callers whose limits are remembered


def rates_for(call: Call, caller: Caller, tenants: TenantsSnapshot) -> list[Rate]:
    """What this call asks of each limit that is about it, in the order of the configuration.

    Tokens are reserved by their bound: all the input's bytes, and the output that the caller allows.
    """
    asked = []
    for rate, counts_tokens in applying(call, caller, tenants):
        if counts_tokens:
            cost = input_tokens(call) + output_tokens(call, rate.amount)
            asked.append(Rate(rate.key, cost, rate.amount, rate.window_ms, rate.burst))
        else:
            asked.append(rate)
    return asked


def applying(call: Call, caller: Caller, tenants: TenantsSnapshot) -> tuple[tuple[Rate, bool], ...]:
    """The limits that are about this caller at a cost of one, and whether they count tokens; remembered."""
    who = (caller.key_id, call.controls.user, call.peer)
    kept: tuple[tuple[Rate, bool], ...] | None = tenants.kept.get(who)
    if kept is None:
        if len(tenants.kept) >= KEPT_MOST:
            tenants.kept.clear()
        kept = tenants.kept[who] = tuple(
            (rate_of(view, caller.workspace_id, name), view.unit == "tokens")
            for view in tenants.limits.get(caller.workspace_id, ())
            if (name := subject(view, call, caller))
        )
    return kept


def rate_of(view: LimitView, workspace_id: str, name: str) -> Rate:
    """One limit for one subject, at a cost of one."""
    window_ms = view.window_s * 1000
    key = f"{{{workspace_id}}}:{view.of}:{view.unit}:{window_ms}:{view.match}:{name}"
    return Rate(key, 1, view.amount, window_ms, view.amount if view.burst is None else view.burst)


@lru_cache(maxsize=16_384)
def unit_of(key: str) -> str:
    return key.split(":", 3)[2]


def subject(view: LimitView, call: Call, caller: Caller) -> str:
    """Who is counted by this limit; "" when it is not about this call."""
    match view.of:
        case "workspace":
            return caller.workspace_id
        case "team":
            return caller.team_id if not view.match or view.match == caller.team else ""
        case "key":
            return caller.key_id if not view.match or view.match == caller.key else ""
        case "user":
            name = call.controls.user
        case _:
            name = counted_address(call.peer)
            if view.match:
                return name if name == counted_address(view.match) else ""
    return name if not view.match or view.match == name else ""


@lru_cache(maxsize=8192)
def counted_address(peer: str) -> str:
    """The address that an IP limit counts: an IPv4 address itself, an IPv6 one by its /64, which one home has whole."""
    try:
        address = ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ip_network((address.packed, 64), strict=False).network_address) + "/64"
    return str(address)


def input_tokens(call: Call) -> int:
    """Bound of the input's tokens, as the body stands before a prompt is rendered into it."""
    return measured(call).input


def output_tokens(call: Call, limit: int) -> int:
    """Output tokens to reserve. Where the caller allows any length a guess is taken, and settled after the answer."""
    body = call.chat if call.chat is not None else call.body
    try:
        asked, count = asked_output(body), choices(body)
    except InvalidRequest:  # refused where the hold is planned, with everything else that is wrong
        return OUTPUT_TOKENS_LEAST
    if asked is None:
        asked = max(OUTPUT_TOKENS_LEAST, min(OUTPUT_TOKENS_MOST, limit // OUTPUT_SHARE))
    return asked * count


def calibrated(rates: list[Rate], call: Call) -> list[Rate]:
    """The same with half the bytes as input tokens, for a second look where the bound did not fit."""
    spare = input_tokens(call) - input_tokens(call) // CALIBRATED_BYTES_PER_TOKEN
    return [replace(rate, cost=max(1, rate.cost - spare)) if ":tokens:" in rate.key else rate for rate in rates]


def share(rate: Rate, workers: int) -> Rate:
    """One worker's part of a limit, for when the workers can't count together."""
    return replace(rate, amount=max(1, rate.amount // workers), burst=max(1, rate.burst // workers))


def settled(rates: list[Rate], tokens: int) -> list[int]:
    """What was used of each."""
    return [tokens if ":tokens:" in rate.key else rate.cost for rate in rates]


def headers(rates: list[Rate], admitted: Admitted) -> dict[str, str]:
    """x-ratelimit-*: the limit of requests and the one of tokens that have the least room left."""
    found: dict[str, tuple[Rate, Standing]] = {}
    for rate, standing in zip(rates, admitted.standings, strict=True):
        unit = unit_of(rate.key)
        if unit in HEADERS and (unit not in found or standing.remaining < found[unit][1].remaining):
            found[unit] = (rate, standing)
    lines = {}
    for unit, (rate, standing) in found.items():
        limit, remaining, reset = HEADERS[unit]
        lines[limit] = str(rate.amount)
        lines[remaining] = str(standing.remaining)
        lines[reset] = duration(standing.reset_ms)
    return lines


def refusal(rates: list[Rate], crowded: Crowded, call: Call) -> RateLimited:
    """The refusal, which names the scope, the unit and the limit, and says when to come back."""
    rate = rates[crowded.which]
    _, of, unit, _, _, subject_id = rate.key.split(":", 5)
    who = {"key": getattr(call.caller, "key", ""), "team": getattr(call.caller, "team", "")}.get(of, subject_id)
    who = f" {who!r}" if of != "workspace" else ""
    lines: dict[str, Any] = {}
    if rate.window_ms == 0:
        message = f"This {of}{who} may have {rate.amount} calls under way at once, and has."
    else:
        window = WINDOW_NAME.get(rate.window_ms, f"{rate.window_ms} ms")
        asked = f"; this call asks for {rate.cost}" if unit == "tokens" else ""
        message = f"This {of}{who} may use {rate.amount} {unit} a {window}, and has {crowded.remaining} left{asked}."
        if rate.cost > rate.burst:
            message += " It can never fit: shorten it, or ask for less output."
        elif rate.burst < rate.amount:
            message += f" At most {rate.burst} may come at once."
        lines = headers([rate], Admitted(0, [Standing(crowded.remaining, crowded.retry_ms)]))
    seconds = max(1, -(-crowded.retry_ms // 1000))
    return RateLimited(message, headers={"retry-after": str(seconds), **lines})


@lru_cache(maxsize=4096)
def duration(milliseconds: int) -> str:
    """As OpenAI writes it: 250ms, 12.5s, 1m30s."""
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    minutes, seconds = divmod(-(-milliseconds // 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}s" if hours else f"{minutes}m{seconds}s"
