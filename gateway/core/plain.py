"""A plain view of a text, to look for things in: what a person reads, however it was written.

Matching is done on the view and the finding carried back to the original by an offset map, so that the text that
travels on is never normalised. Compatibility forms are folded (NFKC: full-width letters and digits, ligatures,
exotic spaces), invisible characters are left out, digits of other scripts and the many dashes become ASCII.
"""

import re
import unicodedata

# Format characters and fillers that show nothing: soft hyphen, joiners, bidi marks, variation selectors, tags ...
INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_DASHES = "\u2010-\u2015\u2212\u2043"
# The zeros of the scripts that write decimal digits of their own, each followed by its other nine (Unicode 14, category Nd).
_ZEROS = (
    "\u0660\u06f0\u07c0\u0966\u09e6\u0a66\u0ae6\u0b66\u0be6\u0c66\u0ce6\u0d66\u0de6\u0e50\u0ed0\u0f20\u1040\u1090\u17e0\u1810"
    "\u1946\u19d0\u1a80\u1a90\u1b50\u1bb0\u1c40\u1c50\ua620\ua8d0\ua900\ua9d0\ua9f0\uaa50\uabf0\uff10\U000104a0\U00010d30"
    "\U00011066\U000110f0\U00011136\U000111d0\U000112f0\U00011450\U000114d0\U00011650\U000116c0\U00011730\U000118e0\U00011950"
    "\U00011c50\U00011d50\U00011da0\U00016a60\U00016ac0\U00016b50\U0001d7ce\U0001d7d8\U0001d7e2\U0001d7ec\U0001d7f6\U0001e140"
    "\U0001e2f0\U0001e950\U0001fbf0"
)
_DIGITS = "".join(f"{zero}-{chr(ord(zero) + 9)}" for zero in _ZEROS)
_UNUSUAL = re.compile(f"[{INVISIBLE}{_DASHES}\u3002\uff61{_DIGITS}]")
_ASCII = bytes(range(128))
_HIDDEN = re.compile(f"[{INVISIBLE}]")
_AS_ASCII = {
    **{ord(zero) + value: str(value) for zero in _ZEROS for value in range(10)},
    **dict.fromkeys((*range(0x2010, 0x2016), 0x2212, 0x2043), "-"),
    0x3002: ".",
}
_MOST_FOLDED = 4  # characters that one with its marks may become, unless Latin letters or digits are among them
_RUN = re.compile(r"[\x00-\x7f]?[^\x00-\x7f]+")


class View:
    """`text` to match on, and the way from its places back to the original's."""

    __slots__ = ("_ends", "_original", "_starts", "text")

    def __init__(self, text: str, original: str) -> None:
        self.text, self._original = text, original
        self._starts: list[int] | None = None
        self._ends: list[int] = []

    @property
    def is_original(self) -> bool:
        return self.text is self._original

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original text that the view's characters start to end (not included) came from."""
        if self.is_original or start == end:
            return start, end
        if self._starts is None:  # only now: most texts hold nothing to find
            self._starts, self._ends = _places(self._original)
        return self._starts[start], self._ends[end - 1]


def plain(text: str) -> View:
    """The view of a text. ASCII, and text that is already plain, is its own view and costs next to nothing."""
    if text.isascii():
        return View(text, text)
    strange = text.encode("utf-8", "surrogatepass").translate(None, _ASCII).decode("utf-8", "surrogatepass")
    if _UNUSUAL.search(strange) is None and unicodedata.is_normalized("NFKC", text):
        return View(text, text)
    return View(_RUN.sub(_Runs().shown, text), text)


def _places(text: str) -> tuple[list[int], list[int]]:
    """Where each character of a text's view begins and ends in the text."""
    starts: list[int] = []
    ends: list[int] = []
    runs = _Runs()
    done = 0
    for match in _RUN.finditer(text):
        begin, stop = match.span()
        starts.extend(range(done, begin))
        ends.extend(range(done + 1, begin + 1))
        done = stop
        run = match.group()
        if (even := _fold_evenly(run)) is not None:
            starts.extend(range(begin, begin + len(even)))
            ends.extend(range(begin + 1, begin + 1 + len(even)))
            continue
        for first, last in _clusters(run):
            size = len(runs.clusters[run[first:last]])
            starts.extend([begin + first] * size)
            ends.extend([begin + last] * size)
    starts.extend(range(done, len(text)))
    ends.extend(range(done + 1, len(text) + 1))
    return starts, ends


class _Folds(dict[str, str]):
    """A base character with its marks → what it shows. Texts repeat themselves, so each is folded once."""

    def __missing__(self, cluster: str) -> str:
        shown = self[cluster] = _fold(cluster)
        return shown


class _Runs(dict[str, str]):
    """Runs of characters beyond ASCII, each with the character before it → what they show."""

    def __init__(self) -> None:
        super().__init__()
        self.clusters = _Folds()

    def shown(self, match: re.Match[str]) -> str:
        return self[match[0]]

    def __missing__(self, run: str) -> str:
        if (shown := _fold_evenly(run)) is None:
            if any(map(unicodedata.combining, set(run))):
                shown = "".join([self.clusters[run[first:last]] for first, last in _clusters(run)])
            else:
                shown = "".join(map(self.clusters.__getitem__, run))
        self[run] = shown
        return shown


def _fold_evenly(run: str) -> str | None:
    """The run folded, if every character of it becomes just one; None where the places would shift."""
    if _HIDDEN.search(run) is not None:
        return None
    folded = {ord(character): unicodedata.normalize("NFKC", character) for character in set(run)}
    if any(len(each) != 1 for each in folded.values()):
        return None
    shown = run.translate(folded)
    return _as_ascii(shown) if unicodedata.normalize("NFKC", run) == shown else None


def _clusters(run: str) -> list[tuple[int, int]]:
    """A base character with the marks that combine with it, each as (start, end)."""
    begins = [at for at, mark in enumerate(map(unicodedata.combining, run)) if not mark or not at]
    return list(zip(begins, [*begins[1:], len(run)], strict=True))


def _fold(cluster: str) -> str:
    shown = _HIDDEN.sub("", cluster)
    if not shown:
        return ""
    folded = _as_ascii(_HIDDEN.sub("", unicodedata.normalize("NFKC", shown)))
    # One Arabic ligature is 18 letters: nothing that is looked for is written so, and a text would grow by as much.
    return shown if len(folded) > _MOST_FOLDED and not any(map(str.isascii, folded.replace(" ", ""))) else folded


def _as_ascii(text: str) -> str:
    """Dashes, full stops and digits of all scripts as ASCII's, one character for each."""
    return text.translate(_AS_ASCII)
