"""Connections to one origin, pinned to an address of its host that was checked, whatever the resolver says next time."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import suppress
from typing import Protocol

from pyreqwest.http import Url

from gateway.core.egress import EgressRefused, literal, resolve
from gateway.core.errors import UpstreamUnavailable
from gateway.providers.base import Outgoing
from gateway.routing.http1 import PlainClient
from gateway.routing.https import SecureClient

RESOLVED_SECONDS = 30.0  # how long a resolved address is used before the name is looked up again, beside the calls


class Exchange(Protocol):
    """One request under way and its answer."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    async def read(self) -> bytes | None:
        """The next piece of the body; None at its end. Raises UpstreamUnavailable."""
        ...

    def close(self) -> Awaitable[None] | None:
        """Hang up, or give the connection back where the answer came to its end."""
        ...


class Client(Protocol):
    """Connections to one address of one origin."""

    async def open(self, outgoing: Outgoing, pieces: AsyncGenerator[bytes] | None) -> Exchange:
        """Send the request and wait for the answer's head. `pieces` are its body, where that is not there whole.

        Raises UpstreamUnavailable. Cancelled, it hangs up.
        """
        ...

    def close(self) -> None:
        """Close the connections that are not used."""
        ...


class Pinned:
    """The client for one origin, pinned to one of the host's checked addresses."""

    __slots__ = ("_connect", "_home", "_host", "_port", "_refreshing", "_secure", "addresses", "client", "stale_at")

    def __init__(
        self, url: Url, addresses: tuple[str, ...], connect_seconds: float, home: asyncio.AbstractEventLoop | None
    ) -> None:
        self._host, self._port, self._connect = host_of(url), url.port_or_known_default or 0, connect_seconds
        self._secure, self._home = url.scheme == "https", home
        self.addresses = addresses
        self.client = self._build()
        self.stale_at = (
            None if literal(self._host) is not None else asyncio.get_running_loop().time() + RESOLVED_SECONDS
        )
        self._refreshing: asyncio.Task[None] | None = None

    @classmethod
    async def of(cls, origin: str, connect_seconds: float, home: asyncio.AbstractEventLoop | None = None) -> "Pinned":
        """`home`: the event loop on which connections are kept.

        Raises UpstreamUnavailable when the host can't be resolved or may not be called.
        """
        try:
            url = Url(origin)  # the client's own reading of a URL, so that nothing is read in two ways
            host, port = host_of(url), url.port_or_known_default or 0
            if url.scheme not in {"http", "https"} or url.username or not host:
                raise EgressRefused("the provider's URL must be http:// or https:// and name a host")
            loop = asyncio.get_running_loop()
            waiting = loop.run_in_executor(None, resolve, host, port)
            addresses = await asyncio.wait_for(waiting, connect_seconds)
        except EgressRefused as error:
            raise UpstreamUnavailable(str(error), kind="connect", sent=False) from None
        except (OSError, TimeoutError):
            raise UpstreamUnavailable("the provider's host has no address", kind="connect", sent=False) from None
        except ValueError:
            raise UpstreamUnavailable("the provider's URL can't be used", kind="connect", sent=False) from None
        return cls(url, addresses, connect_seconds, home)

    def _build(self) -> Client:
        address, is_literal = self.addresses[0], literal(self._host) is not None
        if self._secure:
            return SecureClient(self._connect, None if is_literal else (self._host, address, self._port))
        name = f"[{self._host}]" if ":" in self._host else self._host
        named = name if self._port == 80 else f"{name}:{self._port}"
        return PlainClient((named, address, self._port), self._connect, self._home)

    def turn(self) -> None:
        if len(self.addresses) > 1:
            self.client.close()
            self.addresses = (*self.addresses[1:], self.addresses[0])
            self.client = self._build()

    def refresh(self) -> None:
        """Look the name up again, beside the calls: until that is done they use the address that was checked."""
        if self._refreshing is None:
            self._refreshing = asyncio.get_running_loop().create_task(self._refresh())

    async def _refresh(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            with suppress(OSError):  # the resolver is down: an address that was good stays good
                found = await loop.run_in_executor(None, resolve, self._host, self._port)
                if self.addresses[0] not in found:
                    self.client.close()
                    self.addresses = found
                    self.client = self._build()
        except EgressRefused:
            self.client.close()
            self.addresses, self.client = (), Nowhere()
        finally:
            self.stale_at = loop.time() + RESOLVED_SECONDS
            self._refreshing = None


class Nowhere:
    """Stands for a host that now resolves to an address that calls may not go to."""

    async def open(self, outgoing: Outgoing, pieces: AsyncGenerator[bytes] | None) -> Exchange:
        raise UpstreamUnavailable("the provider's host may not be called", kind="connect", sent=False)

    def close(self) -> None:
        """There is nothing to close."""


def host_of(url: Url) -> str:
    return (url.host_str or "").strip("[]")
