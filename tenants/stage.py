"""Who is calling, and may they come in now? The first two stages of a call."""

import time
from ipaddress import ip_address

from gateway.core.call import Call, Caller
from gateway.core.counters import Admitted, Counters, Crowded, Rate, StoreUnavailable
from gateway.core.crypto import key_digest
from gateway.core.errors import Forbidden, Unauthenticated, Unavailable
from tenants import limits
from tenants.snapshot import KeyView, TenantsSnapshot


def authenticate(call: Call, tenants: TenantsSnapshot) -> Caller:
    """The caller that this call's key belongs to.

    Raises Unauthenticated (invalid_api_key, expired_api_key, revoked_api_key) and Forbidden (ip_not_allowed,
    user_blocked).
    """
    view = call.key or find_key(call.secret, tenants)
    if view is None:
        message = "This API key is not known here." if call.secret else "No API key was given."
        raise Unauthenticated(message)
    call.caller = view.caller  # the record of a refusal says whose key it was
    if view.revoked:
        raise Unauthenticated(
            "This API key was revoked.", code="revoked_api_key", hint="Ask an admin of your workspace for a new key."
        )
    if view.expires_at is not None and view.expires_at <= time.time():
        raise Unauthenticated(
            "This API key has expired.", code="expired_api_key", hint="Ask an admin of your workspace for a new key."
        )
    if not view.workspace.is_active:
        raise Unauthenticated(
            "This API key's workspace is switched off.",
            code="revoked_api_key",
            hint="Ask the gateway's administrator to switch the workspace on.",
        )
    if view.networks and not is_within(call.peer, view):
        raise Forbidden(
            f"This API key may not be used from {call.peer or 'an unknown address'}.",
            code="ip_not_allowed",
            hint="Call from an address on the key's list, or ask an admin to add yours.",
        )
    if call.controls.user in view.workspace.blocked_users:
        raise Forbidden(
            "The end user that this call is made for is blocked.",
            code="user_blocked",
            hint="Ask an admin of your workspace to take the user off its list (Workspaces, Blocked users).",
        )
    return view.caller


def find_key(secret: str, tenants: TenantsSnapshot) -> KeyView | None:
    """The key with this secret, looked up by its digest alone, so that timing tells nothing of other keys."""
    if not secret:
        return None
    for pepper in tenants.peppers:
        view = tenants.keys.get(key_digest(pepper, secret))
        if view is not None:
            return view
    return None


def is_within(peer: str, view: KeyView) -> bool:
    """Whether the peer's address lies in one of the key's networks. An IPv4 address mapped into IPv6 counts as itself."""
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in view.networks)


class admitted:
    """A place among the calls that the workspace's rate limits let in at once. Given back on leaving.

    Entering raises RateLimited when one of the limits has no room, and then nothing is counted anywhere. On leaving,
    the tokens that were reserved are replaced by those that were used.
    """

    def __init__(self, call: Call, tenants: TenantsSnapshot) -> None:
        self.call, self.tenants = call, tenants
        self.rates: list[Rate] = []
        self.at_ms = 0
        self.counters: Counters | None = None

    async def __aenter__(self) -> None:
        call, counters = self.call, self.tenants.counters
        caller = call.caller
        if caller is None or counters is None:
            return
        if not self.tenants.limits.get(caller.workspace_id):
            return
        self.rates = limits.rates_for(call, caller, self.tenants)
        if not self.rates:
            return
        try:
            result = await self._admit(counters)
        except StoreUnavailable:
            policy = self.tenants.on_unavailable.get(caller.workspace_id, "open")
            if policy == "open":
                return
            if policy == "closed":
                raise Unavailable(
                    "The rate limits of this workspace can't be checked just now.", headers={"retry-after": "1"}
                ) from None
            self.rates, counters = [limits.share(rate, counters.workers) for rate in self.rates], counters.local
            result = await self._admit(counters)
        if isinstance(result, Crowded):
            raise limits.refusal(self.rates, result, call)
        self.counters, self.at_ms = counters, result.at_ms
        call.reply_headers.update(limits.headers(self.rates, result))

    async def _admit(self, counters: Counters) -> Admitted | Crowded:
        """Ask for room; where the bound of tokens did not fit, once more with a calibrated count."""
        result = await counters.admit(self.call.id, self.rates)
        if isinstance(result, Crowded) and ":tokens:" in self.rates[result.which].key:
            fewer = limits.calibrated(self.rates, self.call)
            if fewer != self.rates:
                self.rates = fewer
                result = await counters.admit(self.call.id, self.rates)
        return result

    async def __aexit__(self, *exc: object) -> None:
        if self.counters is not None:
            used = limits.settled(self.rates, self.call.tokens)
            await self.counters.settle(self.call.id, self.at_ms, self.rates, used)
