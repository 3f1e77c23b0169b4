"""The further settings of routes and targets, as they stand in a row's `options` and in the configuration file.

route    timeout_s: seconds for a whole call on this route; hedge_after_s: seconds without a beginning after which a
         second target is asked too, for a few of the calls; continue: true where another target may go on with a stream
         that broke off; embedding_model: whose vectors its semantic cache compares;
         shadow: {model, share_percent, daily_usd}, a share of the calls that also goes to another model, for comparison
target   connect_timeout_s, first_token_timeout_s, idle_timeout_s: seconds of one attempt's steps
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

LONGEST_SECONDS = 86_400
ROUTE = ("timeout_s", "hedge_after_s")
TEXTS = ("embedding_model",)  # of a route
SHADOW = ("model", "share_percent", "daily_usd")
DEAREST_DAY_USD = 1_000_000
TARGET = ("connect_timeout_s", "first_token_timeout_s", "idle_timeout_s")


def route_problems(options: Any) -> list[str]:
    """What is wrong with a route's options, one sentence each, beginning with the place: `.timeout_s …`."""
    if not isinstance(options, Mapping):
        return _problems(options, ROUTE)
    others = (*TEXTS, "shadow", "continue")
    found = _problems({name: value for name, value in options.items() if name not in others}, ROUTE)
    if not isinstance(options.get("continue", False), bool):
        found.append(".continue must be true or false")
    for name in TEXTS:
        if name in options and (not isinstance(options[name], str) or not options[name]):
            found.append(f".{name} must be the name of a model")
    return found + [f".shadow{each}" for each in _shadow_problems(options.get("shadow"))]


def _shadow_problems(shadow: Any) -> list[str]:
    if shadow is None:
        return []
    if not isinstance(shadow, Mapping):
        return [' must be an object such as {"model": "gpt-4o", "share_percent": 5, "daily_usd": "2.00"}']
    found = [f".{name} is no setting here; there are {', '.join(SHADOW)}" for name in shadow if name not in SHADOW]
    if not isinstance(shadow.get("model"), str) or not shadow.get("model"):
        found.append(".model must be the name of a model")
    share = shadow.get("share_percent")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 100:
        found.append(".share_percent must be a number, above 0 and at most 100")
    if not 0 <= _dollars(shadow.get("daily_usd")) <= DEAREST_DAY_USD:
        found.append(f'.daily_usd must be US dollars such as "2.00", at most {DEAREST_DAY_USD}')
    return found


def _dollars(value: Any) -> Decimal:
    """The amount; -1 for what is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return Decimal(-1)
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return Decimal(-1)
    return amount if amount.is_finite() else Decimal(-1)


def target_problems(options: Any) -> list[str]:
    """What is wrong with a target's options."""
    return _problems(options, TARGET)


def _problems(options: Any, known: tuple[str, ...]) -> list[str]:
    if not isinstance(options, Mapping):
        return [" must be an object"]
    found = [f".{name} is no setting here; there are {', '.join(known)}" for name in options if name not in known]
    for name in known:
        found += _seconds(options, name)
    return found


def _seconds(options: Mapping[str, Any], name: str) -> list[str]:
    value = options.get(name)
    if value is None:
        return []
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST_SECONDS:
        return [f".{name} must be a number of seconds, above 0 and at most {LONGEST_SECONDS}"]
    return []
