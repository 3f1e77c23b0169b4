"""OpenAI's moderations."""

from gateway.edge.plain import Plain


class Moderations(Plain):
    """The form of POST /v1/moderations."""

    def __init__(self) -> None:
        super().__init__("moderations", "moderates nothing")
