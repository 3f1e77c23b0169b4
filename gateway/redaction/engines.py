"""Engines that recognise names of people with a model. None is needed; one may be installed beside the rules.

`presidio:MODEL` uses Microsoft's Presidio with the spaCy model of that name, both installed by the operator
(`pip install presidio-analyzer` and the model's own package; nothing is ever downloaded here). Another engine is any
installed package with an entry point in the group `tollgate.name_engines`: a callable that takes the text after the
colon and returns an Engine.
"""

from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any, Protocol

GROUP = "tollgate.name_engines"


class Engine(Protocol):
    """Recognises people in a text. Called in a thread, possibly in several at once."""

    def people(self, text: str) -> list[tuple[int, int]]:
        """Where people's names stand, as (start, end) in characters. May raise; the policy's on_error then decides."""
        ...


class EngineMissing(LookupError):
    """The engine that a policy names is not installed. The message says what to install."""


@lru_cache(maxsize=8)
def engine(name: str) -> Engine:
    """The engine that a policy names, e.g. "presidio:en_core_web_lg". Raises EngineMissing."""
    kind, _, detail = name.partition(":")
    if kind == "presidio":
        return Presidio(detail or "en_core_web_lg")
    for point in entry_points(group=GROUP):
        if point.name == kind:
            made: Engine = point.load()(detail)
            return made
    raise EngineMissing(
        f"There is no name engine {kind!r}: install the package that brings it, or take it off the policy."
    )


class Presidio:
    """Presidio's analyzer with one spaCy model, asked for persons only."""

    LEAST_SCORE = 0.6

    def __init__(self, model: str) -> None:
        try:
            from presidio_analyzer import AnalyzerEngine  # noqa: PLC0415 - optional dependency
            from presidio_analyzer.nlp_engine import NlpEngineProvider  # noqa: PLC0415 - optional dependency
            from spacy.util import is_package  # noqa: PLC0415 - optional dependency
        except ImportError as error:
            raise EngineMissing(
                f"Presidio is not installed ({error.name} is missing): pip install presidio-analyzer."
            ) from None
        if not is_package(model):
            raise EngineMissing(
                f"The spaCy model {model!r} is not installed; it is not downloaded while calls are running."
            )
        self.language = model.split("_")[0]
        configuration = {"nlp_engine_name": "spacy", "models": [{"lang_code": self.language, "model_name": model}]}
        provider = NlpEngineProvider(nlp_configuration=configuration)
        self.analyzer: Any = AnalyzerEngine(nlp_engine=provider.create_engine(), supported_languages=[self.language])

    def people(self, text: str) -> list[tuple[int, int]]:
        results = self.analyzer.analyze(
            text=text, language=self.language, entities=["PERSON"], score_threshold=self.LEAST_SCORE
        )
        return [(result.start, result.end) for result in results]
