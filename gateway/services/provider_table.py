"""docs/providers.md, written from what the adapters declare."""

from gateway.providers import PROVIDERS
from gateway.providers.abilities import table

PAGE = """\
# Providers

What each kind of provider can do through the gateway, in whatever form the caller speaks. This page is written by
`python manage.py provider_table` from what the adapters declare; don't edit it by hand.

{table}
- **recorded**: verified by replaying what the provider really sent, or was sent.
- **mock**: verified against a server that others wrote in the provider's form.
- **untested**: written from the provider's reference; only our own tests have seen it.
- **–**: not there. A request that asks for it is refused with `unsupported`, naming the field, before anything is
  sent; with `drop_unsupported: true` the field is left out, and with fallback the next target that can is taken.

## Worth knowing

- **Anthropic**: `max_tokens` is required there; without one the model's `max_output_tokens` is sent, else 4096.
  Structured output is Anthropic's own on Claude 4.1, 4.5 and later, a forced tool on older models. Temperatures above
  1 are sent as 1. Thinking comes as `reasoning_content`, with `thinking_blocks` that hold the signatures; send them
  back with the history and nothing is lost.
- **Gemini**: a thought's signature stands on the tool call as `extra_content.google.thought_signature`. Where a client
  does not send it back, a stand-in is sent that Gemini accepts.
- **Vertex**: the credential is the service account's JSON. Access tokens are fetched in the background, so the first
  second after a new credential may find none. Claude on Vertex takes `/v1/messages` as it is; its calls are untested
  against Google.
- **Bedrock**: nothing is fetched, so images and files are sent as data or as `s3://` URLs. Amazon's embedding models
  take one text a call.
- **Cohere**: usage shows the tokens that went through the model; what is billed stands beside it as `billed_units`,
  and the gateway accounts for that.
"""


def page() -> str:
    """The whole page as Markdown."""
    return PAGE.replace("{table}", table({kind: adapter.can for kind, adapter in PROVIDERS.items()}))
