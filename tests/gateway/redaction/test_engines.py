"""Engines that recognise names: how they are loaded and asked. Presidio itself is stood in for."""

import sys
import types
from typing import Any

import pytest

from gateway.redaction.engines import EngineMissing, Presidio, engine
from gateway.redaction.finder import Finder, Rules


@pytest.fixture
def presidio(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Modules with the names that Presidio and spaCy have; the list receives what the analyzer was asked."""
    asked: list[dict[str, Any]] = []

    class Provider:
        def __init__(self, nlp_configuration: dict[str, Any]) -> None:
            asked.append(nlp_configuration)

        def create_engine(self) -> str:
            return "nlp"

    class Analyzer:
        def __init__(self, nlp_engine: str, supported_languages: list[str]) -> None:
            asked.append({"engine": nlp_engine, "languages": supported_languages})

        def analyze(self, **question: Any) -> list[Any]:
            asked.append(question)
            start = question["text"].index("Quvenzhané")
            return [types.SimpleNamespace(start=start, end=start + len("Quvenzhané"))]

    parts = {
        "spacy": {},
        "spacy.util": {"is_package": lambda name: name == "en_core_web_sm"},
        "presidio_analyzer": {"AnalyzerEngine": Analyzer},
        "presidio_analyzer.nlp_engine": {"NlpEngineProvider": Provider},
    }
    for name, members in parts.items():
        module = types.ModuleType(name)
        module.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, module)
    engine.cache_clear()
    return asked


def test_presidio_is_asked_for_persons_in_the_models_language(presidio: list[dict[str, Any]]) -> None:
    finder = Finder(Rules(frozenset({"person"}), engine="presidio:en_core_web_sm"))
    text = "then quietly Quvenzhané left"
    assert [text[span.start : span.end] for span in finder.find(text)] == ["Quvenzhané"]
    assert finder.is_slow
    assert presidio == [
        {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": "en_core_web_sm"}]},
        {"engine": "nlp", "languages": ["en"]},
        {"text": text, "language": "en", "entities": ["PERSON"], "score_threshold": 0.6},
    ]


def test_a_model_that_is_not_installed_is_refused_and_not_downloaded(presidio: list[dict[str, Any]]) -> None:
    with pytest.raises(EngineMissing, match="de_core_news_lg"):
        Presidio("de_core_news_lg")
    assert presidio == []


def test_an_engine_that_nobody_brings_is_refused_by_name() -> None:
    with pytest.raises(EngineMissing, match="no name engine 'oracle'"):
        engine("oracle:delphi")
