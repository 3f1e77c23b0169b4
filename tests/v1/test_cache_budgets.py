"""A kept answer under a budget: it costs nothing, and is refused where a fresh one would be."""

import threading
import time

from tests.v1 import test_cache as kept

cached = kept.cached
plain_answers = kept.plain_answers


def test_a_spent_budget_is_refused_although_the_answer_is_kept(cached) -> None:
    installation, provider = cached
    questions = {"exact": {}, "streamed": {"stream": True}, "semantic": {"model": "faq", "key": "poor"}}
    kept.vectors(provider, 0.0, 0.0, 1.0)
    for name, fields in questions.items():
        kept.ask(installation, f"poor {name}", **{"key": "acme", **fields, "max_tokens": 100})
        answer = kept.ask(installation, f"poor {name}", **{"key": "poor", **fields, "max_tokens": 100})
        assert kept.told(answer) == (200, "hit-exact")
    kept.configure(installation, provider, poor="0.000001")
    before = provider.meter.requests

    def refused(text: str, **fields) -> bool:
        answer = kept.ask(installation, text, key="poor", max_tokens=100, **fields)
        return (answer.status_code, answer.json().get("error", {}).get("code")) == (429, "budget_exceeded")

    kept.wait_until(lambda: refused("poor exact"))
    assert refused("poor streamed", stream=True)
    assert refused("poor semantic", model="faq")
    assert refused("poor alike", model="faq")
    assert provider.meter.requests - before <= 1  # the vector of the question that is like another
    provider.once(delay_s=1.0)
    leading = threading.Thread(target=lambda: kept.ask(installation, "poor in flight", max_tokens=100))
    leading.start()
    time.sleep(0.3)
    assert refused("poor in flight")
    leading.join()
    assert kept.told(kept.ask(installation, "poor exact", max_tokens=100)) == (200, "hit-exact")
