"""Lists of words, one file each: words between spaces, or phrases a line each; lines that begin with # are remarks."""

from pathlib import Path

_HERE = Path(__file__).parent


def words(name: str) -> frozenset[str]:
    """The words of a list."""
    return frozenset(word for line in _lines(name) for word in line.split())


def phrases(name: str) -> frozenset[str]:
    """The phrases of a list."""
    return frozenset(_lines(name))


def _lines(name: str) -> list[str]:
    lines = (_HERE / f"{name}.txt").read_text("utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]
