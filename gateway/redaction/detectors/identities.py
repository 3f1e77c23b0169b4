"""National identity, tax, health and passport numbers, checked by python-stdnum where it knows the number.

Two kinds of rule: a shape so strong (letters, grouping and check digits together) that it stands alone, and plain digits
that count only when a word near them says what they are. A South African ID number stands alone: its date, its
citizenship, its fixed digit and its check digit together let through 1 of about 4,500 random numbers.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import re2
from stdnum import verhoeff
from stdnum.at import vnr as at_vnr
from stdnum.au import tfn as au_tfn
from stdnum.be import nn as be_nn
from stdnum.bg import egn as bg_egn
from stdnum.br import cpf as br_cpf
from stdnum.ca import sin as ca_sin
from stdnum.ch import ssn as ch_ssn
from stdnum.cn import ric as cn_ric
from stdnum.cz import rc as cz_rc
from stdnum.de import idnr as de_idnr
from stdnum.dk import cpr as dk_cpr
from stdnum.es import dni as es_dni
from stdnum.es import nie as es_nie
from stdnum.fi import hetu as fi_hetu
from stdnum.fr import nir as fr_nir
from stdnum.gb import nhs as gb_nhs
from stdnum.gb import utr as gb_utr
from stdnum.ie import pps as ie_pps
from stdnum.il import idnr as il_idnr
from stdnum.it import codicefiscale as it_cf
from stdnum.kr import rrn as kr_rrn
from stdnum.mu import nid as mu_nid
from stdnum.mx import curp as mx_curp
from stdnum.my import nric as my_nric
from stdnum.nl import bsn as nl_bsn
from stdnum.no import fodselsnummer as no_fnr
from stdnum.nz import ird as nz_ird
from stdnum.pl import pesel as pl_pesel
from stdnum.pt import nif as pt_nif
from stdnum.ro import cnp as ro_cnp
from stdnum.se import personnummer as se_pnr
from stdnum.th import pin as th_pin
from stdnum.tr import tckimlik as tr_tc
from stdnum.us import itin as us_itin
from stdnum.us import ssn as us_ssn
from stdnum.za import idnr as za_idnr
from stdnum.za import tin as za_tin

from gateway.redaction.detectors.contact import PHONE_WORDS
from gateway.redaction.detectors.payment import CARD_WORDS, passes_luhn

Check = Callable[[str], bool]


def is_south_african_id(digits: str, *, near: bool) -> bool:
    """Thirteen digits YYMMDD SSSS C A Z. Without a word such as "ID" before it, A must be 8 or 9, as issued since 1986."""
    return (
        len(digits) == 13
        and (near or digits[11] in "89")
        and passes_luhn(digits)  # first what costs least: in a table of numbers every group is asked
        and za_idnr.is_valid(digits)
    )


class Told(NamedTuple):
    """Plain digits that are somebody's only when one of the words stands near."""

    words: str
    lengths: tuple[int, ...]
    check: Check


_told = Told


def _anything(digits: str) -> bool:
    return len(set(digits)) > 1


_ID_WORDS = (
    r"(?:(?:rsa |sa |south african |national |identity |identiteits?)?id(?:entity|entiteit)?"
    r"(?:s?nommer|[ _-]?(?:no|nr|number|document|card|#))?|ausweis\w*|personnummer)\b"
)
_PASSPORT = r"passport|reisepass\w*|paspoort\w*|passnummer|passeport|travel document"
_LICENCE = r"driv\w+['’]?s? licen[cs]e"
TOLD = (
    _told(r"(?:rsa |sa )?id(?:entity)?[ _-]?(?:no\.?|nr\.?|number|nommer)|identiteitsnommer", (13,), _anything),
    _told(r"ssn|social[ _-]security(?:[ _-](?:no\.?|number|#))?|social", (9,), us_ssn.is_valid),
    _told(r"itin|tax(?:payer)?[ _-]id\w*", (9,), us_itin.is_valid),
    _told(r"nhs(?:[ _-](?:no\.?|number))?", (10,), gb_nhs.is_valid),
    _told(r"utr|unique taxpayer reference|self[ -]assessment", (10,), gb_utr.is_valid),
    _told(
        r"tax(?:[ _-]?(?:payer|reference|ref|number|no\.?|nr\.?|id|file))*|belasting\w*|sars|income tax",
        (10,),
        za_tin.is_valid,
    ),
    _told(r"steuer\w*|idnr\.?|tax[ _-]?id|tin|steuerliche\w*|identifikationsnummer", (11,), de_idnr.is_valid),
    _told(r"svnr|sozialversicherung\w*|versicherungsnummer|sv-nummer", (10,), at_vnr.is_valid),
    _told(r"sin|social insurance", (9,), ca_sin.is_valid),
    _told(r"tfn|tax file", (8, 9), au_tfn.is_valid),
    _told(r"aadhaa?r|uidai", (12,), verhoeff.is_valid),
    _told(r"bsn|burgerservicenummer|sofinummer", (9,), nl_bsn.is_valid),
    _told(r"pesel", (11,), pl_pesel.is_valid),
    _told(r"rijksregister\w*|registre national|insz|niss|nrn", (11,), be_nn.is_valid),
    _told(r"cpf", (11,), br_cpf.is_valid),
    _told(r"n\.?i\.?f\.?|contribuinte", (9,), pt_nif.is_valid),
    _told(r"egn|егн", (10,), bg_egn.is_valid),
    _told(r"rodn\w+|rc", (9, 10), cz_rc.is_valid),
    _told(r"cpr(?:-?nummer)?|personnummer", (10,), dk_cpr.is_valid),
    _told(r"f[øo]dselsnummer|personnummer", (11,), no_fnr.is_valid),
    _told(r"personnummer", (10, 12), se_pnr.is_valid),
    _told(r"t\.?c\.?|kimlik\w*", (11,), tr_tc.is_valid),
    _told(r"teudat zehut|israeli id|id", (9,), lambda digits: len(digits) == 9 and il_idnr.is_valid(digits)),
    _told(r"ird", (8, 9), nz_ird.is_valid),
    _told(r"cnp", (13,), ro_cnp.is_valid),
    _told(r"thai id|pin", (13,), th_pin.is_valid),
    _told(r"mykad|nric|ic(?: no\.?| number)?", (12,), my_nric.is_valid),
    _told(r"rrn|resident registration", (13,), kr_rrn.is_valid),
    _told(r"s[ée]curit[ée] sociale|nir|num[ée]ro de s[ée]cu\w*", (13, 15), _anything),
    _told(_PASSPORT, (8, 9), _anything),
    _told(rf"{_LICENCE}|dl|führerschein\w*|bestuurslisensie|licen[cs]e (?:no\.?|number)", (8, 9, 10, 12), _anything),
    _told(r"medical aid|member(?:ship)? (?:no\.?|number)|krankenversicherten\w*|medicare", (8, 9, 10, 11), _anything),
    _told(r"identity|id[ _-]?(?:no\.?|number|#)|ausweis\w*|national id", (9, 10, 11, 12, 13, 14), _anything),
)  # fmt: skip


class Context(NamedTuple):
    """What the words before a run of digits say about it."""

    phone: bool
    identity: bool
    card: bool
    told: tuple[Told, ...]


def _context_words() -> Any:
    words = re2.Set.SearchSet()
    for each in (PHONE_WORDS, _ID_WORDS, CARD_WORDS, *(rf"(?:{rule.words})(?:[^a-z]|$)" for rule in TOLD)):
        words.Add(rf"(?i)(?:^|[^a-z])(?:{each})")
    words.Compile()
    return words


_CONTEXT = _context_words()


def context(before: str) -> Context:
    """What the text before a run of digits says about it, all words looked for in one pass."""
    seen = _CONTEXT.Match(before) or ()
    return Context(0 in seen, 1 in seen, 2 in seen, tuple(TOLD[index - 3] for index in sorted(seen) if index > 2))


def is_told(digits: str, told: tuple[Told, ...]) -> bool:
    """Whether the words before plain digits say that they are somebody's number, and they can be it."""
    return any(len(digits) in rule.lengths and rule.check(digits) for rule in told)


class Shape(NamedTuple):
    """A number whose shape stands alone; `words`, where given, must stand in the 60 characters before it."""

    pattern: re.Pattern[str]
    check: Check
    words: re.Pattern[str] | None


_NO_LETTER_BEFORE = "(?<![a-z])"


def _shape(pattern: str, check: Check, words: str = "") -> Shape:
    near = re.compile(rf"(?i){_NO_LETTER_BEFORE}(?:{words})") if words else None
    return Shape(re.compile(r"(?<![\w-])(?:" + pattern + r")(?![\w]|-\w)"), check, near)


def _is_pension_number(found: str) -> bool:
    """Germany's pension insurance number, 12 characters: area, birth date, initial, serial, check digit (VKVV § 2)."""
    bare = found.replace(" ", "").upper()
    letter = f"{ord(bare[8]) - 64:02d}"
    digits = bare[:8] + letter + bare[9:11]
    weights = (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)
    total = sum(sum(divmod(int(digit) * weight, 10)) for digit, weight in zip(digits, weights, strict=True))
    return total % 10 == int(bare[11])


def _is_chinese(found: str) -> bool:
    """China's resident identity number. The library's look-up of the county, its last step, knows none for some."""
    try:
        return cn_ric.is_valid(found)
    except KeyError:
        return True


def _always(found: str) -> bool:
    return True


class Shapes:
    """Shapes that are looked for together: RE2 says in one pass which of them the text could hold at all."""

    def __init__(self, *shapes: Shape) -> None:
        self.shapes = shapes
        self._could, self._told = re2.Set.SearchSet(), re2.Set.SearchSet()
        for shape in shapes:
            self._could.Add(_LOOK_AROUND.sub("", shape.pattern.pattern))
            words = shape.words.pattern if shape.words is not None else _NEVER
            self._told.Add(words.replace(_NO_LETTER_BEFORE, "(?:^|[^a-z])"))
        self._could.Compile()
        self._told.Compile()

    def in_text(self, text: str, hint: str) -> Iterator[Shape]:
        could = self._could.Match(text)
        if not could:
            return
        told = frozenset(self._told.Match(f"{hint} {text}") or ())
        for index in sorted(could):
            if self.shapes[index].words is None or index in told:
                yield self.shapes[index]


_NEVER = r"[^\s\S]"
_LOOK_AROUND = re.compile(r"\(\?<?[!=][^()]*\)")
DIGIT_SHAPES = Shapes(
    _shape(r"\d{3}-\d{2}-\d{4}", us_ssn.is_valid),
    _shape(r"9\d{2}-\d{2}-\d{4}", us_itin.is_valid),
    _shape(r"\d{3}\.\d{3}\.\d{3}-\d{2}", br_cpf.is_valid),
    _shape(r"756\.\d{4}\.\d{4}\.\d{2}", ch_ssn.is_valid),
    _shape(r"(?:19|20)?\d{6}[-+]\d{4}", se_pnr.is_valid),
    _shape(r"\d{2}[01235678]\d[0-3]\d/\d{3,4}", cz_rc.is_valid),
    _shape(r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}", be_nn.is_valid),
    _shape(r"\d{6}-\d{2}-\d{4}", my_nric.is_valid),
    _shape(r"\d{6}-[1-4]\d{6}", kr_rrn.is_valid),
    _shape(r"\d{4} \d{4} \d{4}", verhoeff.is_valid, r"aadhaa?r|uid"),
    _shape(r"\d{6}-\d{4}", dk_cpr.is_valid, r"cpr"),
    _shape(r"[12] ?\d{2} ?(?:0[1-9]|1[0-2]) ?\d{2} ?\d{3} ?\d{3} ?\d{2}", fr_nir.is_valid),
    _shape(r"\d{17}[\dXx]", _is_chinese),
    _shape(r"[1-9]\d \d{3} \d{3} \d{3}", de_idnr.is_valid),
)
LETTER_SHAPES = Shapes(
    _shape(r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]", _always),
    _shape(r"\d{2} ?(?:0[1-9]|[12]\d|3[01]|[4-9]\d)(?:0[1-9]|1[0-2])\d{2} ?[A-Z] ?\d{2}\d", _is_pension_number),
    _shape(r"\d{8}-?[A-HJ-NP-TV-Z]", es_dni.is_valid),
    _shape(r"[XYZ]-?\d{7}-?[A-Z]", es_nie.is_valid),
    _shape(r"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]", it_cf.is_valid),
    _shape(r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[A-Z0-9]\d", mx_curp.is_valid),
    _shape(r"\d{6}[-+A-F]\d{3}[0-9A-FHJ-NPR-Y]", fi_hetu.is_valid),
    _shape(r"\d{7}[A-W][A-IW]?", ie_pps.is_valid, r"pps\w*"),
    _shape(r"[A-Z]{5}\d{4}[A-Z]", _always, r"pan\b|permanent account|income tax"),
    _shape(r"[A-Z]\d{12}[0-9A-Z]", mu_nid.is_valid, r"nid|national id|identity"),
    _shape(r"[CFGHJKLMNPRTVWXYZ][CFGHJKLMNPRTVWXYZ0-9]{8}\d?", _always, rf"ausweis\w*|{_PASSPORT}|identity card"),
    _shape(r"[A-Z]{1,2} ?\d{6,8}", _always, rf"{_LICENCE}|{_PASSPORT}|ausweis\w*"),
    _shape(r"[A-Z]{5}\d{6}[A-Z]{2}\d[A-Z]{2}|[A-Z]{1,4}9{1,4}\d{6}[A-Z0-9]{5}", _always, r"driv\w+|licen[cs]e"),
    _shape(r"\d{8,9}[A-Z]{2}", _always, r"licen[cs]e|lisensie"),
)  # fmt: skip
_CONTEXT_CHARACTERS = 60


def shaped(text: str, shapes: Shapes, hint: str, run: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Where one of the shapes stands in the text, touching the run of digits from run[0] to run[1]."""
    for shape in shapes.in_text(text, hint):
        for match in shape.pattern.finditer(text):
            start, end = match.span()
            if end <= run[0] or start >= run[1]:
                continue
            before = f"{hint} {text[max(0, start - _CONTEXT_CHARACTERS) : start]}"
            if (shape.words is None or shape.words.search(before)) and shape.check(match.group()):
                yield start, end
