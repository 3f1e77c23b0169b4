"""A fair guess at how many tokens a text is. What a hold needs, never fewer than the truth, is in bounds.py."""

BYTES_PER_TOKEN = 4  # English text and code; used to report, never to hold


def estimated(characters: int) -> int:
    """A fair guess at the tokens of so many characters, for answers whose provider reports none. At least 1 for any."""
    return -(-characters // BYTES_PER_TOKEN)
