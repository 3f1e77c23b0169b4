"""Azure OpenAI: OpenAI's form at other addresses.

    api_version a date    BASE/openai/deployments/UPSTREAM/chat/completions?api-version=DATE: the upstream name is the
                          deployment's; responses lie at BASE/openai/responses, the deployment in the body
    api_version v1        BASE/openai/v1/chat/completions, as OpenAI's own; also where base_url ends in /openai/v1
    api_version preview   the same with ?api-version=preview

The credential is a resource's key, sent as `api-key`, or a token of Entra ID (it begins with eyJ), sent as a bearer.
"""

from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import quote, urlencode

from gateway.core.call import Target
from gateway.providers.abilities import MOCK, RECORDED, UNTESTED
from gateway.providers.openai import PATHS, OpenAI

DEFAULT_VERSION = "2024-10-21"
V1 = frozenset({"v1", "preview", "latest"})


class AzureOpenAI(OpenAI):
    """The adapter of the kind `azure_openai`; see providers.base.Provider."""

    can: ClassVar[Mapping[str, str]] = {
        "text": RECORDED,
        "stream": MOCK,
        "image": UNTESTED,
        "file": UNTESTED,
        "audio": UNTESTED,
        "tools": MOCK,
        "parallel_tools": MOCK,
        "json_schema": MOCK,
        "reasoning": UNTESTED,
        "logprobs": UNTESTED,
        "n": UNTESTED,
        "embedding": MOCK,
    }
    forms = OpenAI.forms - {"moderations"}

    def url(self, form: str, target: Target) -> str:
        version = target.api_version or DEFAULT_VERSION
        base = target.base_url.rstrip("/")
        root = base.removesuffix("/v1").removesuffix("/openai")
        path = (target.quirks.get("paths") or {}).get(form) or PATHS[form]
        query = dict(target.quirks.get("query") or {})
        if version in V1 or (not target.api_version and base.endswith("/openai/v1")):
            place = f"{root}/openai/v1{path}"
            query |= {"api-version": version} if version == "preview" else {}
        else:
            inner = "" if form == "responses" else f"/deployments/{quote(target.upstream, safe='')}"
            place = f"{root}/openai{inner}{path}"
            query["api-version"] = version
        return f"{place}?{urlencode(query)}" if query else place

    def headers(self, target: Target, content_type: str = "application/json") -> dict[str, str]:
        headers = super().headers(target, content_type)
        headers.pop("authorization", None)
        if target.secret.startswith("eyJ"):
            headers["authorization"] = f"Bearer {target.secret}"
        elif target.secret:
            headers["api-key"] = target.secret
        return headers
