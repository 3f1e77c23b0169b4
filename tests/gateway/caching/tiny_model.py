"""A BERT of four dimensions in a directory, as a hub lays it out, made of random numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "how", "do", "i", "re", "##set", "it", "?", "pass", "##word", "weather"]
WIDTH, HEADS, LAYERS, INNER, POSITIONS = 4, 2, 2, 6, 16
CONFIG = {
    "model_type": "bert",
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "max_position_embeddings": POSITIONS,
    "layer_norm_eps": 1e-12,
}


def shapes() -> dict[str, tuple[int, ...]]:
    """Every tensor of it by name."""
    found: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(WORDS), WIDTH),
        "embeddings.position_embeddings.weight": (POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
    }
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            found |= {f"{name}.attention.{part}.weight": (WIDTH, WIDTH), f"{name}.attention.{part}.bias": (WIDTH,)}
        found |= {f"{name}.intermediate.dense.weight": (INNER, WIDTH), f"{name}.intermediate.dense.bias": (INNER,)}
        found |= {f"{name}.output.dense.weight": (WIDTH, INNER), f"{name}.output.dense.bias": (WIDTH,)}
        for norm in ("attention.output.LayerNorm", "output.LayerNorm"):
            found |= {f"{name}.{norm}.weight": (WIDTH,), f"{name}.{norm}.bias": (WIDTH,)}
    return found


def make(directory: Path, *, dtype: str = "F32", **config: Any) -> Path:
    """Write the model and return its directory."""
    rng = np.random.default_rng(7)
    kind = {"F32": "<f4", "F16": "<f2"}[dtype]
    head: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    raw = b""
    for name, shape in shapes().items():
        data = rng.normal(size=shape).astype(kind).tobytes()
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(raw), len(raw) + len(data)]}
        raw += data
    told = json.dumps(head).encode()
    told += b" " * (-len(told) % 8)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.safetensors").write_bytes(len(told).to_bytes(8, "little") + told + raw)
    (directory / "config.json").write_text(json.dumps({**CONFIG, **config}))
    (directory / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return directory
