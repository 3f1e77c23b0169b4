"""Merkle trees as RFC 6962 makes them: leaves and nodes are hashed apart, so that neither passes for the other."""

import hashlib
from collections.abc import Sequence


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def root(hashes: Sequence[bytes]) -> bytes:
    """The root over these leaf hashes, in this order. Of no leaves: SHA-256 of nothing.

    Source: RFC 6962, section 2.1. Built level by level, which gives the same tree as the recursive definition.
    """
    if not hashes:
        return hashlib.sha256(b"").digest()
    level = list(hashes)
    while len(level) > 1:
        paired = [
            hashlib.sha256(b"\x01" + level[index] + level[index + 1]).digest() for index in range(0, len(level) - 1, 2)
        ]
        if len(level) % 2:
            paired.append(level[-1])
        level = paired
    return level[0]
