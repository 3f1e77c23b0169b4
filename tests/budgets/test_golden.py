"""What providers really reported, priced to the nano-dollar.

golden.json holds usage objects from the recordings as the providers sent them, a price list, and the cost. The costs
were worked out apart from the product, from the provider's own fields with decimal arithmetic: each class of tokens
times its price, rounded up to a nano-dollar, and added.
"""

import json
from pathlib import Path

import pytest

from budgets.pricing import Estimate, Price, parse_price
from gateway.core.call import Usage
from gateway.providers import anthropic_answer, bedrock_answer, cohere_answer, gemini_answer, openai_answers

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())
PRICES = {name: parse_price(given) for name, given in GOLDEN["prices"].items()}
READERS = {
    "anthropic": anthropic_answer.usage,
    "bedrock": bedrock_answer.usage,
    "cohere": cohere_answer.billed,
    "gemini": gemini_answer.usage,
    "openai": openai_answers.usage_of,
}
ROWS = GOLDEN["rows"]


def read(row) -> tuple[Usage, Price]:
    return READERS[row["reader"]](row["usage"]), PRICES[row["price"]]


@pytest.mark.parametrize("row", ROWS, ids=[row["recording"] + " " + str(number) for number, row in enumerate(ROWS)])
def test_a_recorded_usage_costs_what_was_worked_out_by_hand(row):
    usage, price = read(row)
    assert price.cost(usage) == row["nanos"]


def test_the_table_covers_every_provider_and_every_class_that_was_recorded():
    assert len(ROWS) >= 60
    assert {row["recording"].split(" ")[0] for row in ROWS} == {
        "anthropic_messages",
        "azure_chat",
        "bedrock_converse",
        "cohere_v2",
        "compatible_chat",
        "compatible_responses",
        "gemini_generate",
        "mistral_chat",
        "openai_chat",
        "openai_embeddings",
        "openai_responses",
    }
    usages = [read(row)[0] for row in ROWS]
    for name in ("cached", "cache_write", "reasoning", "tool_uses", "input_image", "service_tier"):
        assert any(getattr(usage, name) for usage in usages), name


@pytest.mark.parametrize("row", ROWS, ids=[row["recording"] + " " + str(number) for number, row in enumerate(ROWS)])
def test_the_bound_of_a_call_of_that_size_is_never_below_what_it_cost(row):
    usage, price = read(row)
    bound = price.ceiling(
        Estimate(
            input=usage.input,
            output=usage.output,
            audio=bool(usage.input_audio or usage.output_audio),
            image=bool(usage.input_image or usage.output_image),
            cache_write=bool(usage.cache_write or usage.cache_write_long),
            tool_uses=usage.tool_uses,
        )
    )
    assert bound >= row["nanos"]
