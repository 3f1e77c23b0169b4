"""Who calls the demo, for what, and what goes wrong."""

from typing import NamedTuple


class Kind(NamedTuple):
    """One sort of call. `share` is how many of those that are no earlier kind are of this one."""

    share: float
    key: str
    asked: str
    route: str
    models: tuple[str, ...]
    input_tokens: tuple[int, int]
    output_tokens: tuple[int, int]
    form: str = "chat"
    prompt: str = ""
    has_users: bool = True


KINDS = (
    Kind(0.32, "web", "chat", "chat", ("demo-small", "demo-large"), (60, 900), (40, 420)),
    Kind(0.30, "helpdesk", "faq", "faq", ("demo-small",), (30, 220), (40, 180)),
    Kind(
        0.30,
        "web",
        "prompt/summary@production",
        "chat",
        ("demo-small", "demo-large"),
        (300, 2400),
        (30, 90),
        prompt="summary@1",
    ),
    Kind(0.35, "web", "split", "split", ("demo-small",), (60, 700), (40, 300)),
    Kind(0.45, "nightly", "best", "best", ("demo-large", "demo-small"), (800, 6000), (200, 900), has_users=False),
    Kind(0.60, "nightly", "demo-embed", "demo-embed", ("demo-embed",), (200, 4000), (0, 0), "embeddings", "", False),
    Kind(1.0, "web", "demo-large", "demo-large", ("demo-large",), (100, 1500), (80, 600)),
)
USERS = tuple(f"u-{number}" for number in (1003, 1010, 1017, 1024, 1031, 1038, 1045, 1052, 1059, 1066, 1073, 1080))
TAGS = ("checkout", "onboarding", "search", "release-42", "mobile")
REFUSALS = (
    (429, "rate_limit_exceeded", "user u-1017 has made its 600 requests of this minute"),
    (429, "budget_exceeded", "each user a day: $0.002 of $1 is left, this call may cost $0.0041"),
    (403, "model_not_allowed", "this key may not call demo-large"),
    (400, "invalid_request", "messages must be a list"),
)
QUESTIONS = (
    "Where is my parcel? The tracking page has not changed since Tuesday.",
    "Write a friendly two-line reply to a customer who wants to change the delivery address.",
    "Summarise: The meeting moved to 12 March because the hall is being painted.",
    "Which of our plans includes single sign-on?",
    "Turn this list of ingredients into a shopping list for six people.",
    "Explain to a new colleague what a rate limit is, with an example.",
)
ANSWERS = (
    "It left the depot this morning and should be with you by tomorrow evening.",
    "Of course! Tell us the new address by 18:00 and your parcel will go there instead.",
    "The meeting is now on 12 March, because the hall is being painted.",
    "Every plan includes it; you can switch it on under Settings, Security.",
    "Here is the list for six: 900 g flour, 6 eggs, 750 ml milk, a pinch of salt.",
    "A rate limit says how many calls may come in a minute. With 60 a minute, the 61st has to wait.",
)
