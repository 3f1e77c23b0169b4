"""Servers that speak OpenAI's form, as the admin offers them when a provider of kind openai_compatible is created.

A preset fills in a row; it is nothing that a call reads. `quirks` are explained in providers/openai.py. Addresses on
127.0.0.1 are the defaults of servers that one runs oneself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OLDER_LIMIT: Mapping[str, Any] = {"max_tokens_field": "max_tokens"}


@dataclass(frozen=True, slots=True)
class Preset:
    """One server: what a person calls it, where it lives, how it differs, where its makers describe it."""

    slug: str
    name: str
    base_url: str
    docs_url: str
    quirks: Mapping[str, Any] = field(default_factory=dict)
    needs_credential: bool = True


def forms(*names: str, **quirks: Any) -> dict[str, Any]:
    """Quirks of a server that speaks chat and these forms."""
    return {"forms": ["chat", *names], **quirks}


def hosted(slug: str, name: str, base_url: str, docs_url: str, quirks: Mapping[str, Any]) -> Preset:
    return Preset(slug, name, base_url, docs_url, quirks)


def local(slug: str, name: str, base_url: str, docs_url: str, quirks: Mapping[str, Any]) -> Preset:
    return Preset(slug, name, base_url, docs_url, {**quirks, "no_developer_role": True}, needs_credential=False)


PRESETS: tuple[Preset, ...] = (
    hosted(
        "cerebras",
        "Cerebras",
        "https://api.cerebras.ai/v1",
        "https://inference-docs.cerebras.ai/",
        forms("completions", no_cache_control=True),
    ),
    hosted(
        "deepinfra",
        "DeepInfra",
        "https://api.deepinfra.com/v1/openai",
        "https://deepinfra.com/docs",
        forms("completions", "embeddings", **OLDER_LIMIT),
    ),
    hosted(
        "deepseek",
        "DeepSeek",
        "https://api.deepseek.com",
        "https://api-docs.deepseek.com/",
        forms(no_developer_role=True, keep_reasoning=True, **OLDER_LIMIT),
    ),
    hosted(
        "fireworks",
        "Fireworks",
        "https://api.fireworks.ai/inference/v1",
        "https://docs.fireworks.ai/",
        forms("completions", "embeddings", "responses", **OLDER_LIMIT),
    ),
    hosted(
        "groq",
        "Groq",
        "https://api.groq.com/openai/v1",
        "https://console.groq.com/docs/openai",
        forms(
            "responses",
            "audio_transcriptions",
            "audio_translations",
            "audio_speech",
            no_cache_control=True,
            no_names=True,
        ),
    ),
    hosted(
        "huggingface",
        "Hugging Face",
        "https://router.huggingface.co/v1",
        "https://huggingface.co/docs/inference-providers",
        forms("responses", **OLDER_LIMIT),
    ),
    hosted(
        "moonshot",
        "Moonshot",
        "https://api.moonshot.ai/v1",
        "https://platform.moonshot.ai/docs",
        forms(no_developer_role=True, **OLDER_LIMIT),
    ),
    hosted(
        "nebius",
        "Nebius",
        "https://api.tokenfactory.nebius.com/v1",
        "https://docs.tokenfactory.nebius.com/",
        forms("completions", "embeddings", "images", **OLDER_LIMIT),
    ),
    hosted(
        "nvidia",
        "NVIDIA NIM",
        "https://integrate.api.nvidia.com/v1",
        "https://docs.api.nvidia.com/",
        forms("completions", "embeddings", **OLDER_LIMIT),
    ),
    hosted(
        "openrouter",
        "OpenRouter",
        "https://openrouter.ai/api/v1",
        "https://openrouter.ai/docs",
        forms("completions", "responses", "embeddings"),
    ),
    hosted(
        "perplexity",
        "Perplexity",
        "https://api.perplexity.ai",
        "https://docs.perplexity.ai/",
        forms(no_developer_role=True, no_done=True, **OLDER_LIMIT),
    ),
    hosted(
        "sambanova",
        "SambaNova",
        "https://api.sambanova.ai/v1",
        "https://docs.sambanova.ai/",
        forms("embeddings", **OLDER_LIMIT),
    ),
    hosted(
        "together",
        "Together",
        "https://api.together.xyz/v1",
        "https://docs.together.ai/",
        forms("completions", "embeddings", "images", "audio_speech", **OLDER_LIMIT),
    ),
    hosted("voyage", "Voyage", "https://api.voyageai.com/v1", "https://docs.voyageai.com/", {"forms": ["embeddings"]}),
    hosted("xai", "xAI", "https://api.x.ai/v1", "https://docs.x.ai/", forms("completions", "responses", "images")),
    hosted(
        "zai",
        "Z.AI",
        "https://api.z.ai/api/paas/v4",
        "https://docs.z.ai/",
        forms("embeddings", no_developer_role=True, **OLDER_LIMIT),
    ),
    local(
        "llama-cpp",
        "llama.cpp",
        "http://127.0.0.1:8080/v1",
        "https://github.com/ggml-org/llama.cpp/tree/master/tools/server",
        forms("completions", "embeddings", **OLDER_LIMIT),
    ),
    local(
        "lm-studio",
        "LM Studio",
        "http://127.0.0.1:1234/v1",
        "https://lmstudio.ai/docs",
        forms("completions", "embeddings", "responses", **OLDER_LIMIT),
    ),
    local(
        "ollama",
        "Ollama",
        "http://127.0.0.1:11434/v1",
        "https://docs.ollama.com/api/openai-compatibility",
        forms("completions", "embeddings", **OLDER_LIMIT),
    ),
    local(
        "sglang",
        "SGLang",
        "http://127.0.0.1:30000/v1",
        "https://docs.sglang.ai/",
        forms("completions", "embeddings", **OLDER_LIMIT),
    ),
    local(
        "vllm",
        "vLLM",
        "http://127.0.0.1:8000/v1",
        "https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
        forms("completions", "embeddings", "responses", "audio_transcriptions"),
    ),
)
