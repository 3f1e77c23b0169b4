"""OpenAI's embeddings."""

from gateway.edge.plain import Plain


class Embeddings(Plain):
    """The form of POST /v1/embeddings."""

    def __init__(self) -> None:
        super().__init__("embeddings", "makes no embeddings")
