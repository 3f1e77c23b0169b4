"""Text that a person doesn't see but a model reads, and marks that make a user's text look like the system's."""

import re
from collections.abc import Iterator

# Letters of the tag block spell ASCII invisibly; bidi overrides show a text in another order than it is read in.
_TAGS = "[\U000e0001\U000e0020-\U000e007f]"
_FLAG = f"\U0001f3f4{_TAGS}{{2,8}}"  # regional flags are spelt with tags: 🏴 and letters
_BIDI = "[\u202a-\u202e\u2066-\u2069]"
_NOTHING = "[\u200b\u2060-\u2064\ufeff\u180e\u00ad\u115f\u1160\u3164\uffa0]"
_JOINERS = "[\u200b-\u200f\u2060-\u2064\ufeff\ufe00-\ufe0f]"
_WITHIN_WORDS = f"(?<=\\w){_NOTHING}(?=\\w)"
_HIDDEN = re.compile(f"{_FLAG}|({_TAGS}{{2,}}|\u202e|\u202d|{_BIDI}{{3,}}|{_JOINERS}{{4,}}|{_WITHIN_WORDS})")
_ROLES = re.compile(
    r"(?i)<\|(?:im_start|im_end|system|user|assistant|endofprompt|endoftext|start_header_id|end_header_id|eot_id)\|>|"
    r"\[/?INST\]|<</?SYS>>|</?(?:system|system_prompt|system-prompt|developer_instructions)>|"
    r"(?:^|\n)[ \t>*_#]{0,8}(?:system|developer)(?: ?(?:prompt|message|instructions?|override))?[*_]{0,2}"
    r"[ \t]{0,3}:[ \t]*\S|"
    r"\n\n(?:Human|Assistant):[ \t]*\S"
)
_SOFT = "\u00ad\u200b\ufeff"
SOFT_BREAKS_ALLOWED = 8  # soft hyphens and the like that a copied text may hold


def hidden_text(text: str) -> Iterator[int]:
    """Where invisible text stands. Flags, emoji sequences and the joiners of Arabic and Indic scripts are none."""
    if text.isascii():
        return
    found = [match.span() for match in _HIDDEN.finditer(text) if match[1] is not None]
    soft = sum(1 for start, end in found if end - start == 1 and text[start] in _SOFT)
    for start, end in found:
        if end - start > 1 or text[start] not in _SOFT or soft > SOFT_BREAKS_ALLOWED:
            yield start


def spoofed_roles(text: str) -> Iterator[int]:
    """Where a text pretends to be somebody else's turn."""
    if "<" in text or "[" in text or ":" in text:
        yield from (match.start() for match in _ROLES.finditer(text))
