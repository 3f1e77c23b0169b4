"""IP addresses, version 4 and 6."""

import ipaddress
import re
from collections.abc import Iterator

_V4 = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?\d)")
_VERSION_BEFORE = re.compile(
    r"(?i)(?:\bversion|\bver\.?|\brelease|\bbuild|\bfirmware|\bpatch|\bsection|§|\bchapter|\bv)\s{0,2}\Z"
)
_V6 = re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:]{2,39}(?:(?<=:)\d{1,3}(?:\.\d{1,3}){3})?(?![\w:])")


def ip4_addresses(text: str) -> Iterator[tuple[int, int]]:
    for match in _V4.finditer(text):
        start, end = match.span()
        if all(int(part) < 256 for part in match.group().split(".")) and not _VERSION_BEFORE.search(
            text[max(0, start - 12) : start]
        ):
            yield start, end


def ip6_addresses(text: str) -> Iterator[tuple[int, int]]:
    """Addresses that can't be taken for code (`std::vector`), a time (12:30:45) or a hardware address."""
    for match in _V6.finditer(text):
        found = match.group()
        if found.count(":") < 2 or not any(character.isdigit() for character in found):
            continue
        if found.endswith(":") and not found.endswith("::"):
            found = found[:-1]
        try:
            ipaddress.IPv6Address(found)
        except ValueError:
            continue
        groups = [group for group in found.split(":") if group]
        if len(groups) >= 3 or found[:2].lower() in ("fe", "fc", "fd", "20", "26", "2a", "2c", "24", "28", "::"):
            yield match.start(), match.start() + len(found)
