"""OpenAI's image generation."""

from gateway.edge.plain import Plain


class Images(Plain):
    """The form of POST /v1/images/generations."""

    def __init__(self) -> None:
        super().__init__("images", "makes no images")
