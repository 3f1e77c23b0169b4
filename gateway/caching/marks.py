"""The words that turn a question into another one although all else stays: numbers, days, negations, opposites.

Vectors hardly see them: to all-MiniLM-L6-v2 "sort ascending" and "sort descending" are 0.98 alike, errors 429 and 529
0.9. So two questions are like only where they have the same numbers, days, months and negations, and where neither says
the opposite of what the other says. A word too many here means that a question is asked anew; one too few, a wrong
answer. English and German.
"""

import re

_WORD = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d_]+(?:'t)?")
_DENIALS = "not no never without nor cannot except unless kein keine keinen nicht ohne nie nooit sonder"
_NOT = frozenset(_DENIALS.split(" "))
_DAYS = (
    "monday tuesday wednesday thursday friday saturday sunday january february march april june july august september "
    "october november december montag dienstag mittwoch donnerstag freitag samstag sonntag januar februar märz mai juni "
    "juli oktober dezember today tomorrow yesterday heute morgen gestern"
)
_SAME_ONLY = frozenset(_DAYS.split(" "))
# In each line words of which a question means one: whoever says one and not the other does not ask the other's question.
_OPPOSITES = """
first second third fourth last
next previous
one two three four five six seven eight nine ten eleven twelve twenty hundred
add remove delete create
add insert remove delete deactivate
open close
start stop
begin end
start end
pause resume cancel
enable disable
activate deactivate
on off
block unblock
lock unlock
install uninstall
upgrade downgrade
undo redo
import export
upload download
read write
buy sell
buy use
pay refund
return exchange
deposit withdraw
deposits withdrawals
withdrawal transfer
raise lower
raises lowers
increase decrease
reduce increase
more less fewer
most least
highest lowest
maximum minimum
above below
over under
ascending descending
left right
top bottom
inside outside
inbound outbound
incoming outgoing
sent received
earn redeem
to from
in out
arrive depart
arrival departure
leave arrive
delayed cancelled
damaged missing
adult child
adults children
child infant
infants adults
husband wife
son daughter
mother father
male female
breakfast lunch dinner
hot cold
winter summer spring autumn
morning evening afternoon night
cheap expensive
accept reject
approve deny
allow forbid
public private
internal external
local remote
red orange yellow green blue purple pink black white grey brown
euro dollar pound rand yen
cost take
savings loan
gross net
before after
encode decode
encrypt decrypt
login logout
subscribe unsubscribe
ein aus
aktivieren deaktivieren
öffnen schließen
hinzufügen entfernen
kaufen verkaufen
"""
_LINES = tuple(frozenset(line.split()) for line in _OPPOSITES.split("\n") if line)
_LINES_OF: dict[str, tuple[int, ...]] = {
    word: tuple(number for number, line in enumerate(_LINES) if word in line) for line in _LINES for word in line
}

Sides = frozenset[str]


def fixed(text: str) -> tuple[str, ...]:
    """What two questions must have in common to be compared at all: numbers, days, months, and denials."""
    text = text.lower().replace("’", "'")
    words = set(_WORD.findall(text))
    found = {word for word in words if word in _SAME_ONLY}
    found.update(word.replace(",", ".") for word in words if word[0].isdigit())
    if not words.isdisjoint(_NOT) or ("n't" in text and any(word.endswith("n't") for word in words)):
        found.add("not")
    return tuple(sorted(found))


def sides(text: str) -> Sides:
    """The words of the text that have an opposite."""
    return frozenset(_LINES_OF.keys() & set(_WORD.findall(text.lower())))


def are_opposed(one: Sides, other: Sides) -> bool:
    """Whether one text says a word and not its opposite, and the other the opposite and not the word."""
    mine, theirs = one - other, other - one
    if not mine or not theirs:
        return False
    lines = {line for word in mine for line in _LINES_OF[word]}
    return any(line in lines for word in theirs for line in _LINES_OF[word])
