"""An embedding model on this machine's CPU: BERT's encoder in numpy, read from a directory of the operator's.

The directory is one as Hugging Face's hub and the sentence-transformers library lay it out: `config.json`, `vocab.txt`
and `model.safetensors`, and where they are there `sentence_bert_config.json` (the most tokens) and
`1_Pooling/config.json`. Nothing is downloaded, nothing beside numpy is needed. all-MiniLM-L6-v2 takes about 10 ms of
CPU for a question, so it never runs on the event loop's thread.

Source: Devlin et al., "BERT" (2019); Wolf et al.'s layout of its weights; WordPiece as in Google's reference tokenizer.
"""

import asyncio
import json
import mmap
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
NAME = "local"  # what a route's embedding_model says to have this one
LONGEST_WORD = 100  # characters; a longer one is unknown, as to the reference tokenizer
MOST_TOKENS = 512
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2")}


class NoLocalModel(Exception):
    """The directory holds no model that can be run. The message says what is missing and what to do."""


class LocalModel:
    """One loaded model. `model` names it where vectors are kept apart: its directory, and a digest of its weights."""

    def __init__(self, directory: Path) -> None:
        config = _json(directory / "config.json")
        if config.get("model_type") != "bert":
            raise NoLocalModel(f"{directory} holds a {config.get('model_type')!r} model; only 'bert' can be run here.")
        self.words = _vocabulary(directory / "vocab.txt")
        self.weights = _tensors(directory / "model.safetensors")
        self.heads = int(config["num_attention_heads"])
        self.layers = int(config["num_hidden_layers"])
        self.epsilon = float(config.get("layer_norm_eps", 1e-12))
        told = _json(directory / "sentence_bert_config.json", needed=False)
        most = min(MOST_TOKENS, int(config.get("max_position_embeddings", MOST_TOKENS)))
        self.most_tokens = min(most, int(told.get("max_seq_length") or most))
        pooling = _json(directory / "1_Pooling" / "config.json", needed=False)
        self.takes_first = bool(pooling.get("pooling_mode_cls_token"))
        self.lowers = bool(_json(directory / "tokenizer_config.json", needed=False).get("do_lower_case", True))
        some = self.weights["embeddings.word_embeddings.weight"][:: max(1, len(self.words) // 512)]
        self.model = f"{NAME}:{directory.name}:{blake2b(some.tobytes(), digest_size=6).hexdigest()}"
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedding")
        self.vector("warm")  # whatever is wrong with the weights is said now, not in a call

    async def embedded(self, text: str, timeout_s: float) -> Matrix:
        """The text's vector, float32 (dimensions,), of length 1. Raises TimeoutError; runs in a thread of its own."""
        loop = asyncio.get_running_loop()
        return await asyncio.wait_for(loop.run_in_executor(self._worker, self.vector, text), timeout_s)

    def vector(self, text: str) -> Matrix:
        """The same, here and now."""
        hidden = self._encoded(self.tokens(text))
        pooled = hidden[0] if self.takes_first else hidden.mean(axis=0)
        length = float(np.linalg.norm(pooled)) or 1.0
        vector: Matrix = (pooled / np.float32(length)).astype(np.float32)
        return vector

    # --- words -----------------------------------------------------------------------------------

    def tokens(self, text: str) -> list[int]:
        """The text's WordPieces between the two marks that BERT wants, at most as many as the model takes."""
        found: list[int] = []
        for word in _words(text, lowers=self.lowers):
            found.extend(self._pieces(word))
            if len(found) >= self.most_tokens:
                break
        return [self.words["[CLS]"], *found[: self.most_tokens - 2], self.words["[SEP]"]]

    def _pieces(self, word: str) -> list[int]:
        """The longest known beginnings of a word, one after another; one unknown where it can't be taken apart."""
        unknown = self.words["[UNK]"]
        if len(word) > LONGEST_WORD:
            return [unknown]
        found, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = self.words.get(("##" if start else "") + word[start:end])
                if piece is not None:
                    found.append(piece)
                    start = end
                    break
            else:
                return [unknown]
        return found

    # --- the encoder -----------------------------------------------------------------------------

    def _encoded(self, tokens: list[int]) -> Matrix:
        """The last layer's hidden states, float32 (tokens, dimensions)."""
        weights = self.weights
        x = weights["embeddings.word_embeddings.weight"][tokens]
        x = x + weights["embeddings.position_embeddings.weight"][: len(tokens)]
        x = self._normed(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for layer in range(self.layers):
            name = f"encoder.layer.{layer}"
            x = self._normed(x + self._attended(x, f"{name}.attention"), f"{name}.attention.output.LayerNorm")
            inner = gelu(self._dense(x, f"{name}.intermediate.dense"))
            x = self._normed(x + self._dense(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        return x

    def _attended(self, x: Matrix, name: str) -> Matrix:
        count, width = x.shape
        query, key, value = (
            self._dense(x, f"{name}.self.{part}").reshape(count, self.heads, width // self.heads).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / np.float32(np.sqrt(width // self.heads))
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        return self._dense((scores @ value).transpose(1, 0, 2).reshape(count, width), f"{name}.output.dense")

    def _dense(self, x: Matrix, name: str) -> Matrix:
        result: Matrix = x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]
        return result

    def _normed(self, x: Matrix, name: str) -> Matrix:
        centred = x - x.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(self.epsilon))
        result: Matrix = centred / spread * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return result


def gelu(x: Matrix) -> Matrix:
    """x Φ(x). The error function by Abramowitz & Stegun 7.1.26, which is off by 1.5e-7 at most."""
    z = np.abs(x) * np.float32(2**-0.5)
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = np.sign(x) * (1 - series * np.exp(-z * z))
    result: Matrix = (x * np.float32(0.5) * (1 + erf)).astype(np.float32)
    return result


# --- reading -------------------------------------------------------------------------------------


def load(directory: str) -> LocalModel:
    """The model in this directory. Raises NoLocalModel, naming the file that is missing or can't be used."""
    try:
        return LocalModel(Path(directory))
    except (KeyError, IndexError, TypeError, ValueError, OSError) as error:
        raise NoLocalModel(f"The model in {directory} can't be run: {type(error).__name__}: {error}.") from error


def _json(file: Path, *, needed: bool = True) -> dict[str, Any]:
    if not file.is_file():
        if needed:
            raise _missing(file)
        return {}
    found = json.loads(file.read_text("utf-8"))
    if not isinstance(found, dict):
        raise NoLocalModel(f"{file} must hold a JSON object.")
    return found


def _missing(file: Path) -> NoLocalModel:
    return NoLocalModel(
        f"{file} is not there. An embedding model's directory holds config.json, vocab.txt and model.safetensors, as "
        "sentence-transformers/all-MiniLM-L6-v2 does; nothing is downloaded here."
    )


def _vocabulary(file: Path) -> dict[str, int]:
    if not file.is_file():
        raise _missing(file)
    words = {word: number for number, word in enumerate(file.read_text("utf-8").splitlines())}
    for mark in ("[CLS]", "[SEP]", "[UNK]"):
        if mark not in words:
            raise NoLocalModel(f"{file} has no {mark}, so it is no vocabulary of BERT's.")
    return words


def _tensors(file: Path) -> dict[str, Matrix]:
    """The weights, mapped from the file so that workers share them. safetensors: a length, a JSON head, the bytes."""
    if not file.is_file():
        raise _missing(file)
    with file.open("rb") as opened:
        raw = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    begin = 8 + int.from_bytes(raw[:8], "little")
    found = {}
    for name, about in json.loads(raw[8:begin]).items():
        if name == "__metadata__" or about["dtype"] not in _DTYPES:  # e.g. the positions' own numbers
            continue
        first, last = about["data_offsets"]
        dtype = _DTYPES[about["dtype"]]
        tensor = np.frombuffer(raw, dtype, (last - first) // dtype.itemsize, begin + first).reshape(about["shape"])
        found[name.removeprefix("bert.")] = tensor.astype(np.float32, copy=False)
    return found


def _words(text: str, *, lowers: bool) -> Iterator[str]:
    """Words and single marks, in lower case and without accents where the model was trained so."""
    if lowers:
        decomposed = unicodedata.normalize("NFD", text.lower())
        text = "".join(character for character in decomposed if unicodedata.category(character) != "Mn")
    word = ""
    for character in text:
        kind = unicodedata.category(character)
        if character.isspace() or kind in ("Cc", "Cf"):
            if word and (character.isspace() or character in "\t\n\r"):
                yield word
                word = ""
        elif _stands_alone(character, kind):
            if word:
                yield word
                word = ""
            yield character
        else:
            word += character
    if word:
        yield word


def _stands_alone(character: str, kind: str) -> bool:
    code = ord(character)
    if kind[0] == "P" or 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126:
        return True
    return 0x4E00 <= code <= 0x9FFF or 0x3400 <= code <= 0x4DBF or 0xF900 <= code <= 0xFAFF or code >= 0x20000
