"""Which digits are somebody's telephone number, by the numbering plans that phonenumbers carries.

phonenumbers takes 50 µs and more to parse and judge one number, so a page of a telephone book would take half a second.
Here each plan is one RE2 pattern, made once from the library's own data; only a number that no pattern knows goes to
the library, and only where it stands as an international one.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import phonenumbers
import re2
from phonenumbers import PhoneMetadata

HOME = ("ZA", "GB", "US", "DE")
ABROAD = ("FR", "NL", "AU", "IT", "ES", "CH", "AT", "BE", "IE", "IN", "NZ", "NG", "KE", "ZW", "BR", "CA", "SE", "PT")
_LONGEST_CODE = 3  # digits of a country's calling code


def _kinds_of(plan: PhoneMetadata) -> list[str]:
    described = (
        plan.fixed_line, plan.mobile, plan.toll_free, plan.premium_rate, plan.shared_cost, plan.personal_number, plan.voip,
        plan.pager, plan.uan, plan.voicemail,
    )  # fmt: skip
    return [kind.national_number_pattern for kind in described if kind is not None and kind.national_number_pattern]


def _plans(regions: tuple[str, ...], *, is_from_abroad: bool) -> str:
    """An RE2 pattern for the numbers of several countries: with the calling code first, or as they are dialled at home,

    where some write the calling code too, without its plus.
    """
    each = []
    for code in sorted({phonenumbers.country_code_for_region(region) for region in regions}):
        for region in phonenumbers.region_codes_for_country_code(code):  # the United States share theirs with 24 others
            plan = PhoneMetadata.metadata_for_region(region)
            assert plan is not None
            first = str(code) if is_from_abroad else f"(?:{code}|{plan.national_prefix or ''})?"
            each.append(f"{first}(?:{'|'.join(_kinds_of(plan))})")
    return "|".join(each)


def _all_plans() -> Any:
    """At home, abroad, and at home with the calling code first, looked for in one pass."""
    plans = re2.Set.FullMatchSet()
    plans.Add(_plans(HOME, is_from_abroad=False))
    plans.Add(_plans(ABROAD, is_from_abroad=False))
    plans.Add(_plans(HOME, is_from_abroad=True))
    plans.Compile()
    return plans


_PLANS = _all_plans()


@lru_cache(maxsize=1000)
def _lengths(code: str) -> frozenset[int]:
    """How many digits may follow a calling code; none where it is no such code."""
    regions = phonenumbers.region_codes_for_country_code(int(code))
    if not regions:
        return frozenset()
    plan = PhoneMetadata.metadata_for_region_or_calling_code(int(code), regions[0])
    described = plan.general_desc if plan is not None else None
    return (
        frozenset()
        if described is None
        else frozenset(described.possible_length + described.possible_length_local_only)
    )


def dialled(digits: str) -> tuple[bool, bool]:
    """Whether digits are a number as it is dialled within a country: South Africa, Britain, the United States or Germany,

    and one of the others that are looked for.
    """
    fitting = _PLANS.Match(digits) or ()
    return 0 in fitting, 1 in fitting


def is_possible(digits: str) -> bool:
    """Whether digits, calling code first, are as long as numbers of that country can be."""
    for size in range(1, _LONGEST_CODE + 1):
        if lengths := _lengths(digits[:size]):
            rest = len(digits) - size
            if rest in lengths and digits[size] != "0":
                return True
            return rest - 1 in lengths and _parses_as(phonenumbers.is_possible_number, digits)  # the trunk prefix too
    return False


def is_valid(digits: str) -> bool:
    """Whether digits, calling code first, are a number that its country gives out."""
    return 2 in (_PLANS.Match(digits) or ()) or _parses_as(phonenumbers.is_valid_number, digits)


def _parses_as(check: Callable[[phonenumbers.PhoneNumber], bool], digits: str) -> bool:
    try:
        return check(phonenumbers.parse("+" + digits, None))
    except phonenumbers.NumberParseException:
        return False
