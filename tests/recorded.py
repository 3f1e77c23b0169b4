"""The recorded exchanges, for tests that replay them."""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "recordings"


@cache
def exchanges(name: str) -> tuple[dict[str, Any], ...]:
    """The lines of one file, e.g. "openai_chat". Don't change them."""
    with gzip.open(FOLDER / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return tuple(json.loads(line) for line in lines)
