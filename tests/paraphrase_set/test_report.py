"""The set is what it says it is, and the cache does no worse on it than is written."""

import os
from itertools import chain

import pytest

from gateway.caching.local import load
from tests.paraphrase_set.report import (
    BEGIN,
    DOCUMENT,
    DOMAINS,
    END,
    THRESHOLDS,
    measured,
    pairs,
    rates,
    scripted,
    table,
)


def test_the_set_has_200_pairs_of_five_domains_half_of_them_the_same() -> None:
    found = {domain: pairs(domain) for domain in DOMAINS}
    every = list(chain(*found.values()))
    assert {domain: sum(pair.is_same for pair in of) for domain, of in found.items()} == dict.fromkeys(DOMAINS, 20)
    assert (len(every), len({(pair.one, pair.other) for pair in every})) == (200, 200)
    assert [pair for pair in every if pair.one == pair.other] == []


def test_a_scripted_model_hits_and_errs_as_it_always_did() -> None:
    every = list(chain(*measured(scripted).values()))
    assert [rates(every, at) for at in THRESHOLDS] == SCRIPTED


SCRIPTED = [(0.02, 0.38), (0.01, 0.17), (0.0, 0.03)]


@pytest.mark.skipif(not os.environ.get("EMBEDDING_MODEL_DIR"), reason="EMBEDDING_MODEL_DIR names no model to measure")
def test_the_written_table_is_what_the_model_does() -> None:
    written = DOCUMENT.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    assert table(load(os.environ["EMBEDDING_MODEL_DIR"]).vector) == written
