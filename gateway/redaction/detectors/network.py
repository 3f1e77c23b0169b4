"""IP addresses, version 4 and 6."""

import re
import socket
from collections.abc import Iterator

_OCTET = r"(?:25[0-5]|2[0-4]\d|[01]?\d{1,2})"
_V4 = re.compile(rf"(?<![\d.]){_OCTET}(?:\.{_OCTET}){{3}}(?!\.?\d)", re.ASCII)
_VERSION_BEFORE = re.compile(
    r"(?i)(?:\bversion|\bver\.?|\brelease|\bbuild|\bfirmware|\bpatch|\bsection|§|\bchapter|\bv)\s{0,2}\Z"
)
_V6 = re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:]{2,39}(?:(?<=:)\d{1,3}(?:\.\d{1,3}){3})?(?![\w:])")
_NO_DIGITS = "abcdefABCDEF:"


def ip4_addresses(text: str) -> Iterator[tuple[int, int]]:
    for match in _V4.finditer(text):
        start, end = match.span()
        before = text[max(0, start - 12) : start]
        word_end = before.rstrip()[-1:]
        if not (word_end.isalpha() or word_end in "§.") or not _VERSION_BEFORE.search(before):
            yield start, end


def ip6_addresses(text: str) -> Iterator[tuple[int, int]]:
    """Addresses that can't be taken for code (`std::vector`), a time (12:30:45) or a hardware address."""
    for match in _V6.finditer(text):
        found = match.group()
        if found.count(":") < 2 or not found.strip(_NO_DIGITS):
            continue
        if found.endswith(":") and not found.endswith("::"):
            found = found[:-1]
        try:
            socket.inet_pton(socket.AF_INET6, found)
        except OSError:
            continue
        groups = [group for group in found.split(":") if group]
        if len(groups) >= 3 or found[:2].lower() in ("fe", "fc", "fd", "20", "26", "2a", "2c", "24", "28", "::"):
            yield match.start(), match.start() + len(found)
