"""Ids that sort by time: UUID version 7 (RFC 9562), made by hand because the standard library has none before 3.14."""

import os
import time


def new_id(at_ms: int | None = None) -> str:
    """A fresh UUIDv7: 48 bits of Unix milliseconds (now, unless given), then 74 random bits."""
    digits = f"{time.time_ns() // 1_000_000 if at_ms is None else at_ms:012x}7{os.urandom(10).hex()}"
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{variant}{digits[17:20]}-{digits[20:32]}"
