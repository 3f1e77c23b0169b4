"""Whether an answer is as it should be: one function for each kind of assertion, from a kept answer to a verdict.

    texts       what the answer says, word by word, and how long it is
    structure   JSON, numbers, tool calls
    likeness    how alike it is to a reference
    judges      what another model says of it; the only ones that ask anybody

All but the judges are reproducible from what was kept, on any machine. What can't be decided is an error and never a
pass: a gate counts it as missing.
"""

from collections.abc import Callable, Mapping

from evals.scorers import likeness, structure, texts
from evals.scorers.judges import JUDGES
from evals.scorers.kept import Answer, Assertion, Found, Undecided

SCORERS: Mapping[str, Callable[[Answer, Assertion], Found]] = {**texts.KINDS, **structure.KINDS, **likeness.KINDS}
KINDS = (*SCORERS, *JUDGES)


def score(answer: Answer, assertion: Assertion) -> Found:
    """The verdict of one assertion that asks no model. Never raises: what can't be decided is an error, with its reason."""
    scorer = SCORERS.get(assertion.kind)
    if scorer is None:
        return Found("error", reason=f"There is no assertion of the kind {assertion.kind!r}.")
    try:
        return scorer(answer, assertion)
    except Undecided as error:
        return Found("error", reason=str(error))
    except Exception as error:
        return Found("error", reason=f"{assertion.kind} could not be decided: {type(error).__name__}: {error}"[:500])


__all__ = ["JUDGES", "KINDS", "Answer", "Assertion", "Found", "Undecided", "score"]
