"""The embedding model on this machine: its words, its arithmetic against a plain one, and what it says when it can't run."""

import asyncio
import math
import threading
from pathlib import Path

import numpy as np
import pytest
from django.core.exceptions import ImproperlyConfigured

from gateway.caching.embedding import embedder_of
from gateway.caching.local import LocalModel, NoLocalModel, gelu, load
from gateway.core.call import Target
from gateway.runtime import open_local
from gateway.snapshot import ModelView, RoutesSnapshot
from tests.gateway.caching import tiny_model
from tests.gateway.caching.tiny_model import HEADS, LAYERS, WIDTH


@pytest.fixture
def model(tmp_path: Path) -> LocalModel:
    return load(str(tiny_model.make(tmp_path / "tiny")))


def test_a_text_is_taken_apart_as_berts_own_tokenizer_does(model: LocalModel) -> None:
    words = tiny_model.WORDS

    def pieces(text: str) -> list[str]:
        return [words[token] for token in model.tokens(text)]

    assert pieces("How do I reset it?") == ["[CLS]", "how", "do", "i", "re", "##set", "it", "?", "[SEP]"]
    assert pieces("pässword\n WEATHER??") == ["[CLS]", "pass", "##word", "weather", "?", "?", "[SEP]"]
    assert pieces("passport 天气") == ["[CLS]", "[UNK]", "[UNK]", "[UNK]", "[SEP]"]
    assert pieces("") == ["[CLS]", "[SEP]"]
    assert len(pieces("do " * 99)) == tiny_model.POSITIONS
    assert pieces("x" * 101) == ["[CLS]", "[UNK]", "[SEP]"]


def by_hand(model: LocalModel, tokens: list[int]) -> list[float]:
    """The same arithmetic, number by number."""
    w = {name: tensor.astype(float) for name, tensor in model.weights.items()}
    dims = range(WIDTH)

    def normed(row, name):
        mean = sum(row) / len(row)
        spread = math.sqrt(sum((value - mean) ** 2 for value in row) / len(row) + 1e-12)
        return [(value - mean) / spread * w[f"{name}.weight"][i] + w[f"{name}.bias"][i] for i, value in enumerate(row)]

    def dense(row, name):
        weight, bias = w[f"{name}.weight"], w[f"{name}.bias"]
        return [sum(weight[o][i] * value for i, value in enumerate(row)) + bias[o] for o in range(len(bias))]

    rows = []
    for place, token in enumerate(tokens):
        whole = [
            w["embeddings.word_embeddings.weight"][token][i]
            + w["embeddings.position_embeddings.weight"][place][i]
            + w["embeddings.token_type_embeddings.weight"][0][i]
            for i in dims
        ]
        rows.append(normed(whole, "embeddings.LayerNorm"))
    size = WIDTH // HEADS
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        query, key, value = (
            [dense(row, f"{name}.attention.self.{part}") for row in rows] for part in ("query", "key", "value")
        )
        attended = []
        for q in query:
            heads: list[float] = []
            for head in range(HEADS):
                part = slice(head * size, (head + 1) * size)
                scores = [
                    math.exp(sum(a * b for a, b in zip(q[part], k[part], strict=True)) / math.sqrt(size)) for k in key
                ]
                heads += [
                    sum(score / sum(scores) * v[head * size + i] for score, v in zip(scores, value, strict=True))
                    for i in range(size)
                ]
            attended.append(dense(heads, f"{name}.attention.output.dense"))
        rows = [
            normed([a + b for a, b in zip(row, more, strict=True)], f"{name}.attention.output.LayerNorm")
            for row, more in zip(rows, attended, strict=True)
        ]
        inner = [
            [x * 0.5 * (1 + math.erf(x / math.sqrt(2))) for x in dense(row, f"{name}.intermediate.dense")]
            for row in rows
        ]
        more = [dense(row, f"{name}.output.dense") for row in inner]
        rows = [
            normed([a + b for a, b in zip(row, add, strict=True)], f"{name}.output.LayerNorm")
            for row, add in zip(rows, more, strict=True)
        ]
    pooled = [sum(row[i] for row in rows) / len(rows) for i in dims]
    length = math.sqrt(sum(value * value for value in pooled))
    return [value / length for value in pooled]


@pytest.mark.parametrize("text", ["how do i reset it?", "weather", "password password do it it it"])
def test_a_vector_is_what_the_same_arithmetic_by_hand_gives(model: LocalModel, text: str) -> None:
    vector = model.vector(text)
    assert vector.dtype == np.float32
    assert vector == pytest.approx(by_hand(model, model.tokens(text)), abs=1e-5)
    assert float(np.linalg.norm(vector)) == pytest.approx(1.0, abs=1e-6)


def test_gelu_is_exact_to_six_digits() -> None:
    x = np.linspace(-6, 6, 101, dtype=np.float32)
    assert gelu(x) == pytest.approx([v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()], abs=2e-6)


def test_half_precision_weights_and_a_models_own_most_tokens_are_read(tmp_path: Path) -> None:
    whole = load(str(tiny_model.make(tmp_path / "whole")))
    half = tiny_model.make(tmp_path / "half", dtype="F16")
    (half / "sentence_bert_config.json").write_text('{"max_seq_length": 5}')
    shorter = load(str(half))
    assert len(shorter.tokens("do do do do do do")) == 5
    assert float(shorter.vector("do it") @ whole.vector("do it")) > 0.999
    assert shorter.model != whole.model  # their vectors are never compared


async def test_a_vector_is_made_in_a_thread_and_not_waited_for_too_long(model: LocalModel) -> None:
    seen: list[str] = []
    plain = model.vector
    model.vector = lambda text: (seen.append(threading.current_thread().name), plain(text))[1]  # type: ignore[assignment]
    assert (await model.embedded("do it", 5.0)).shape == (WIDTH,)
    assert seen[0].startswith("embedding")
    waiting = threading.Event()
    model.vector = lambda text: (waiting.wait(5), plain(text))[1]  # type: ignore[assignment]
    with pytest.raises(asyncio.TimeoutError):
        await model.embedded("do it", 0.01)
    waiting.set()


@pytest.mark.parametrize("missing", ["config.json", "vocab.txt", "model.safetensors"])
def test_a_directory_without_a_part_is_refused_naming_the_file(tmp_path: Path, missing: str) -> None:
    directory = tiny_model.make(tmp_path / "tiny")
    (directory / missing).unlink()
    with pytest.raises(NoLocalModel, match=rf"{missing} is not there\. .* nothing is downloaded"):
        load(str(directory))


def test_what_can_not_be_run_is_refused_saying_why(tmp_path: Path) -> None:
    with pytest.raises(NoLocalModel, match="holds a 'gpt2' model; only 'bert'"):
        load(str(tiny_model.make(tmp_path / "gpt", model_type="gpt2")))
    with pytest.raises(NoLocalModel, match="can't be run: KeyError: 'encoder"):
        load(str(tiny_model.make(tmp_path / "deep", num_hidden_layers=3)))
    broken = tiny_model.make(tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00not json at all!")
    with pytest.raises(NoLocalModel, match="can't be run"):
        load(str(broken))
    worded = tiny_model.make(tmp_path / "worded")
    (worded / "vocab.txt").write_text("how\ndo\n")
    with pytest.raises(NoLocalModel, match=r"has no \[CLS\]"):
        load(str(worded))


def test_a_route_has_the_local_model_where_it_says_so_or_says_nothing(model: LocalModel) -> None:
    target = Target("vectors", "p", "openai", "http://x", "e")
    models = {"vectors": ModelView("vectors", "p", "embedding", None, (target,))}
    both, upstream = RoutesSnapshot({}, models, local=model), RoutesSnapshot({}, models)
    assert [embedder_of(both, name) for name in ("", "local", "vectors", "gone")] == [model, model, target, None]
    assert [embedder_of(upstream, name) for name in ("", "local", "vectors")] == [target, None, target]


def test_a_directory_that_can_not_be_used_stops_the_start_with_the_reason(settings, tmp_path: Path) -> None:
    settings.EMBEDDING_MODEL_DIR = ""
    assert open_local() is None
    settings.EMBEDDING_MODEL_DIR = str(tmp_path / "nowhere")
    with pytest.raises(ImproperlyConfigured, match=r"EMBEDDING_MODEL_DIR: .*config\.json is not there"):
        open_local()
    settings.EMBEDDING_MODEL_DIR = str(tiny_model.make(tmp_path / "tiny"))
    assert isinstance(open_local(), LocalModel)
