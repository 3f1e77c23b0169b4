"""Where calls may go: rules over addresses, and resolving a name into addresses that obey them.

Two strengths. A provider may lie on loopback or a private network (self-hosted models), but never on a link-local or
cloud-metadata address. A webhook's address must be public, unless the deployment names its host. Both hold for what a
name resolves to as well, and whoever connects must connect to an address returned here, not to the name: a resolver may
answer differently the second time.
"""

import ipaddress
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address

# Where clouds keep their instance credentials, beside the link-local 169.254.169.254: AWS and Google over IPv6,
# Alibaba, Oracle's older one, Azure's host agent.
METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
# Prefixes whose last 32 bits are an IPv4 address that a translator on the way will reach.
NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
COMPATIBLE = ipaddress.ip_network("::/96")
SITE_LOCAL = ipaddress.ip_network("fec0::/10")
DOTS = str.maketrans({"。": ".", "．": ".", "｡": "."})  # what IDNA reads as a dot


class EgressRefused(ValueError):
    """The address is not one that calls may go to. The message says why and holds no secret."""


def literal(host: str) -> Address | None:
    """The address that `host` is, None when it is a name.

    Takes every spelling that a C resolver or a browser's URL takes: 127.1, 0x7f000001, 2130706433, 127。0。0。1.
    """
    host = host.translate(DOTS).strip("[]").split("%", 1)[0]
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host)) if host and host[0].isdigit() and " " not in host else None
    except OSError:
        return None


def faces(address: Address) -> Iterator[Address]:
    """The address itself and every IPv4 address hidden in it: mapped, compatible, NAT64, 6to4, Teredo."""
    yield address
    if isinstance(address, IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if any(address in net for net in NAT64) or (address in COMPATIBLE and int(address) > 1):
        yield IPv4Address(int(address) & 0xFFFFFFFF)


def refusal(address: Address, *, public_only: bool = False) -> str | None:
    """Why calls may not go to this address; None when they may."""
    for face in faces(address):
        if face in METADATA:
            return f"{address} is a cloud's metadata address"
        if face.is_link_local:
            return f"{address} is a link-local address"
        if face.is_multicast or face == IPv4Address("255.255.255.255"):
            return f"{address} is no single host's address"
        if public_only and (not face.is_global or face.is_reserved or face in SITE_LOCAL):
            return f"{address} is not a public address"
    return None


def check(address: Address, *, public_only: bool = False) -> None:
    """Raise EgressRefused unless calls may go to this address."""
    if (why := refusal(address, public_only=public_only)) is not None:
        raise EgressRefused(f"{why}; calls never go there")


def check_url(url: str, *, public_only: bool = False, allowed_hosts: frozenset[str] = frozenset()) -> None:
    """Raise EgressRefused for a URL that can't be right, without asking a resolver. For forms and files."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise EgressRefused(f"{url!r} is no URL: {error}") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise EgressRefused(f"{url!r} must begin with http:// or https:// and name a host")
    if "@" in parts.netloc or "\\" in url:
        raise EgressRefused("a URL must not hold a user name, a password or a backslash")
    address = literal(host)
    if host in allowed_hosts:
        public_only = False
    if address is not None:
        check(address, public_only=public_only)
    elif public_only and (host == "localhost" or host.endswith((".localhost", ".internal", ".local"))):
        raise EgressRefused(f"{host} is not a public host")


def resolve(
    host: str, port: int, *, public_only: bool = False, allowed_hosts: frozenset[str] = frozenset()
) -> tuple[str, ...]:
    """The addresses of a host, every one of them checked, in the resolver's order with IPv4 first. Blocks.

    Raises EgressRefused when one of them is not allowed, OSError when the name has none.
    """
    if host in allowed_hosts:
        public_only = False
    address = literal(host)
    if address is not None:
        check(address, public_only=public_only)
        return (str(address),)
    found: dict[str, None] = {}
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            rows = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        except OSError:
            continue
        for row in rows:
            text = str(row[4][0]).split("%", 1)[0]
            check(ipaddress.ip_address(text), public_only=public_only)
            found[text] = None
    if not found:
        raise OSError(f"no address for {host}")
    return tuple(found)
