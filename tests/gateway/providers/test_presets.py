from urllib.parse import urlsplit

from gateway.core.call import Target
from gateway.providers import speaks
from gateway.providers.openai import PATHS, OpenAICompatible
from gateway.providers.presets import PRESETS

KNOWN = frozenset(
    {"auth", "headers", "paths", "query", "forms", "max_tokens_field", "no_system_role", "no_developer_role"}
    | {"no_stream_options", "no_stream_usage", "no_done", "no_names", "drop", "plain_content", "no_cache_control"}
    | {"keep_reasoning"}
)


def test_every_preset_names_a_server_once_with_quirks_that_the_adapter_knows():
    assert len({preset.slug for preset in PRESETS}) == len({preset.name for preset in PRESETS}) == len(PRESETS)
    for preset in PRESETS:
        assert set(preset.quirks) - KNOWN == set()
        assert set(preset.quirks["forms"]) - set(PATHS) == set()
        assert urlsplit(preset.base_url).scheme == ("https" if preset.needs_credential else "http")
        assert urlsplit(preset.docs_url).scheme == "https"


def test_every_preset_makes_a_request():
    for preset in PRESETS:
        at = Target("m", preset.slug, "openai_compatible", preset.base_url, "u", secret="s", quirks=preset.quirks)
        form = preset.quirks["forms"][0]
        out = OpenAICompatible().request({"messages": []}, form, at, stream=False)
        assert out.url == f"{preset.base_url}{PATHS[form]}"
        assert speaks(at, form)
        assert not speaks(at, "messages")
