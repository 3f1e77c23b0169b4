"""Which adapter speaks to which kind of provider.

A new kind is one file beside this one and one line here.
"""

from collections.abc import Mapping

from gateway.core.call import Target
from gateway.providers.anthropic import Anthropic
from gateway.providers.azure_openai import AzureOpenAI
from gateway.providers.base import Provider
from gateway.providers.bedrock import Bedrock
from gateway.providers.cohere import Cohere
from gateway.providers.demo import Demo
from gateway.providers.gemini import Gemini
from gateway.providers.mistral import Mistral
from gateway.providers.openai import OpenAI, OpenAICompatible
from gateway.providers.vertex import Vertex

PROVIDERS: Mapping[str, Provider] = {
    "anthropic": Anthropic(),
    "azure_openai": AzureOpenAI(),
    "bedrock": Bedrock(),
    "cohere": Cohere(),
    "demo": Demo(),
    "gemini": Gemini(),
    "mistral": Mistral(),
    "openai": OpenAI(),
    "openai_compatible": OpenAICompatible(),
    "vertex": Vertex(),
}


def provider_of(target: Target) -> Provider:
    """The adapter for a target. Raises KeyError for a kind that nobody speaks."""
    return PROVIDERS[target.kind]


def speaks(target: Target, form: str) -> bool:
    """Whether the target takes calls in this form as they are; others go to it as "chat", where the form has one."""
    forms = target.quirks.get("forms")
    if forms is None:
        adapter = PROVIDERS[target.kind]
        forms = adapter.forms
        if isinstance(adapter, Vertex) or (form == "completions" and isinstance(adapter, OpenAI)):
            forms = adapter.forms_of(target)
    return form in forms
