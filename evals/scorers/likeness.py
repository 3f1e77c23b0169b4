"""How alike an answer is to a reference, from 0 to 1; the assertion's threshold says how alike it must be."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from evals.scorers.kept import Answer, Assertion, Found, reaches

LONGEST = 20_000  # characters that are compared
ORDERS = 4
DEFAULTS = {"levenshtein": 0.8, "similar": 0.7, "rouge_l": 0.5, "bleu": 0.3}


def levenshtein(one: str, other: str) -> float:
    """1 minus the edit distance over the longer length."""
    if not one and not other:
        return 1.0
    if len(one) < len(other):
        one, other = other, one
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        before, row[0] = row[0], at
        for place, against in enumerate(other, 1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (letter != against))
    return 1 - row[-1] / len(one)


def similar(one: str, other: str) -> float:
    """The cosine of the counts of character trigrams: insensitive to order and endings, and asks no model."""
    first, second = (Counter(text[at : at + 3] for at in range(len(text) - 2)) for text in (one, other))
    norm = math.sqrt(sum(n * n for n in first.values()) * sum(n * n for n in second.values()))
    return sum(n * second[each] for each, n in first.items()) / norm if norm else float(one == other)


def rouge_l(one: str, other: str) -> float:
    """F1 of the longest common subsequence of words (Lin, 2004)."""
    said, wanted = one.split(), other.split()
    if not said or not wanted:
        return float(said == wanted)
    row = [0] * (len(wanted) + 1)
    for word in said:
        before = 0
        for place, against in enumerate(wanted, 1):
            before, row[place] = row[place], before + 1 if word == against else max(row[place], row[place - 1])
    common = row[-1]
    return 2 * common / (len(said) + len(wanted))


def grams(words: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[at : at + order]) for at in range(len(words) - order + 1))


def bleu(one: str, other: str) -> float:
    """Geometric mean of up to four orders' precisions, each with one added to both counts from the second order on
    (Lin & Och, 2004), times the brevity penalty."""
    said, wanted = one.split(), other.split()
    if not said or not wanted:
        return float(said == wanted)
    logs = []
    for order in range(1, min(ORDERS, len(said), len(wanted)) + 1):
        found, there = grams(said, order), grams(wanted, order)
        matches, total = sum((found & there).values()), sum(found.values())
        if order > 1:
            matches, total = matches + 1, total + 1
        if not matches:
            return 0.0
        logs.append(math.log(matches / total))
    penalty = min(0.0, 1 - len(wanted) / len(said))
    return math.exp(sum(logs) / len(logs) + penalty)


def against(kind: str, measure: Callable[[str, str], float], what: str) -> Callable[[Answer, Assertion], Found]:
    def check(answer: Answer, assertion: Assertion) -> Found:
        threshold = DEFAULTS[kind] if assertion.threshold is None else assertion.threshold
        said, wanted = answer.text.strip()[:LONGEST], assertion.text(answer).strip()[:LONGEST]
        return reaches(measure(said.casefold(), wanted.casefold()), threshold, what)

    return check


KINDS: Mapping[str, Callable[[Answer, Assertion], Found]] = {
    "levenshtein": against("levenshtein", levenshtein, "Its likeness by edits"),
    "similar": against("similar", similar, "Its likeness by trigrams"),
    "rouge_l": against("rouge_l", rouge_l, "ROUGE-L"),
    "bleu": against("bleu", bleu, "BLEU"),
}
