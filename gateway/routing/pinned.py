"""Connections to one origin, pinned to an address of its host that was checked, whatever the resolver says next time."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.http import Url

from gateway.core.egress import EgressRefused, literal, resolve
from gateway.core.errors import UpstreamUnavailable

RESOLVED_SECONDS = 30.0  # how long a resolved address is used before the name is looked up again, beside the calls
IDLE_CONNECTION_SECONDS = 30.0


class Pinned:
    """The client for one origin, pinned to one of the host's checked addresses."""

    __slots__ = ("_connect", "_host", "_port", "_refreshing", "addresses", "client", "stale_at")

    def __init__(self, host: str, port: int, addresses: tuple[str, ...], connect_seconds: float) -> None:
        self._host, self._port, self._connect = host, port, connect_seconds
        self.addresses = addresses
        self.client = self._build()
        self.stale_at = None if literal(host) is not None else asyncio.get_running_loop().time() + RESOLVED_SECONDS
        self._refreshing: asyncio.Task[None] | None = None

    @classmethod
    async def of(cls, origin: str, connect_seconds: float) -> "Pinned":
        """Raises UpstreamUnavailable when the host can't be resolved or may not be called."""
        try:
            url = Url(origin)  # the client's own reading of a URL, so that nothing is read in two ways
            host, port = (url.host_str or "").strip("[]"), url.port_or_known_default or 0
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
        return cls(host, port, addresses, connect_seconds)

    def _build(self) -> Client:
        builder = (
            ClientBuilder()
            .follow_redirects(False)
            .no_proxy()
            .gzip(False)
            .brotli(False)
            .zstd(False)
            .deflate(False)
            .referer(False)
            .default_cookie_store(False)
            .user_agent("tollgate")
            .http1_lower_case_headers()
            .connect_timeout(timedelta(seconds=self._connect))
            .pool_idle_timeout(timedelta(seconds=IDLE_CONNECTION_SECONDS))
        )
        if literal(self._host) is None:
            builder = builder.resolve(self._host, self.addresses[0], self._port)
        return builder.build()

    def turn(self) -> None:
        if len(self.addresses) > 1:
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
                    self.addresses = found
                    self.client = self._build()
        except EgressRefused:
            self.addresses, self.client = (), _NOWHERE
        finally:
            self.stale_at = loop.time() + RESOLVED_SECONDS
            self._refreshing = None


class _Nowhere:
    """Stands for a host that now resolves to an address that calls may not go to."""

    def request(self, *_: Any) -> Any:
        raise UpstreamUnavailable("the provider's host may not be called", kind="connect", sent=False)


_NOWHERE: Any = _Nowhere()
