"""The official cohere client on /v1/rerank, with Cohere's answer behind it; and documents where they are asked for."""

import json

import cohere
import httpx

from tests.gateway.edge.through import Gateway

ANSWER = {
    "id": "r1",
    "results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}],
    "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
}


def through(gateway: Gateway) -> httpx.Client:
    def handle(request: httpx.Request) -> httpx.Response:
        status, body, headers = gateway.handle(request.url.path, request.content, dict(request.headers))
        return httpx.Response(status, content=body, headers=headers)

    return httpx.Client(transport=httpx.MockTransport(handle))


def test_the_cohere_client_ranks_through_the_gateway():
    gateway = Gateway(json.dumps(ANSWER), kind="cohere")
    client = cohere.Client("key", base_url="http://gateway.example", httpx_client=through(gateway))
    found = client.rerank(model="rank", query="capital?", documents=["Berne", "Paris"], top_n=2, return_documents=True)
    assert [(one.index, one.relevance_score, one.document.text) for one in found.results] == [
        (1, 0.9, "Paris"),
        (0, 0.1, "Berne"),
    ]
    assert gateway.sent == {"model": "theirs", "query": "capital?", "documents": ["Berne", "Paris"], "top_n": 2}


def test_without_return_documents_the_answer_is_the_bytes_that_came():
    gateway = Gateway(json.dumps(ANSWER), kind="cohere")
    body = json.dumps({"model": "rank", "query": "q", "documents": ["a", "b"]}).encode()
    assert gateway.handle("/v1/rerank", body, {})[:2] == (200, json.dumps(ANSWER).encode())


def test_a_provider_that_ranks_nothing_says_so():
    gateway = Gateway("{}", kind="anthropic")
    body = json.dumps({"model": "rank", "query": "q", "documents": ["a"]}).encode()
    status, answer, _ = gateway.handle("/v1/rerank", body, {})
    assert (status, json.loads(answer)["error"]["message"]) == (400, "This model ranks no documents.")
