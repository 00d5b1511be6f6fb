"""What labels mean: kinds of mention, the names people give them, and what may be asked of a row.

A corpus says which kinds it marks, hence which labels a row may be asked for. Asking for a kind
that a corpus never marks would teach the model to miss it, so such labels are not asked.
"""

import random
import re
from collections.abc import Iterable, Mapping, Sequence

from pipeline.dataset import Row

NAMES: dict[str, tuple[str, ...]] = {
    "person": ("person", "person", "person", "people", "person name", "full name", "name"),
    "organization": ("organization", "organization", "organisation", "org", "institution"),
    "location": ("location", "location", "place", "geographical location", "geographic place"),
    "company": ("company", "company", "corporation", "business", "company name"),
    "city": ("city", "city", "city or town", "town"),
    "country": ("country", "country", "nation"),
    "region": ("state or region", "region", "state", "province"),
    "landmark": ("landmark", "natural feature", "geographical feature"),
    "facility": ("facility", "building", "venue"),
    "address": ("address", "street address", "postal address"),
    "university": ("university", "school", "educational institution"),
    "team": ("sports team", "team", "club"),
    "agency": ("government agency", "international organization", "public body"),
    "date": ("date", "date", "date", "dates", "day"),
    "time": ("time", "time of day"),
    "duration": ("duration", "time period"),
    "money": ("money", "money", "amount of money", "monetary value", "price"),
    "percentage": ("percentage", "percent"),
    "quantity": ("quantity", "measurement"),
    "email": ("email", "email", "email address", "e-mail", "e-mail address"),
    "phone number": ("phone number", "phone number", "phone", "telephone number"),
    "url": ("url", "website", "web address", "link"),
    "username": ("username", "user name", "social media handle"),
    "ip address": ("ip address", "ip"),
    "identifier": ("identifier", "id number", "reference number", "order number"),
    "iban": ("iban", "bank account number"),
    "credit card number": ("credit card number", "credit card"),
    "product": ("product", "product", "product name", "brand product"),
    "software": ("software", "app", "software product"),
    "vehicle": ("vehicle", "car", "car model"),
    "event": ("event", "event", "event name", "named event"),
    "job title": ("job title", "job title", "occupation", "profession", "position"),
    "disease": ("disease", "disease", "medical condition", "illness", "condition"),
    "drug": ("drug", "drug", "medication", "medicine", "drug name"),
    "symptom": ("symptom", "symptoms"),
    "work": ("creative work", "work of art", "title of work"),
    "book": ("book", "novel", "book title"),
    "film": ("film", "movie", "film or series", "tv show"),
    "song": ("song", "song title"),
    "album": ("album",),
    "poem": ("poem",),
    "nationality": ("nationality", "nationality or ethnicity"),
    "language": ("language", "spoken language"),
    "award": ("award", "prize"),
    "programming language": ("programming language",),
    "food": ("food", "dish"),
    "animal": ("animal", "species"),
    "group": ("group", "organization or group"),
    "writer": ("writer", "author"),
    "politician": ("politician",),
    "scientist": ("scientist",),
    "researcher": ("researcher",),
    "musical artist": ("musical artist", "musician", "singer"),
    "band": ("band", "music group"),
    "political party": ("political party", "party"),
    "magazine": ("magazine",),
    "academic journal": ("academic journal", "journal"),
    "conference": ("conference",),
    "election": ("election",),
    "miscellaneous": ("miscellaneous", "miscellaneous", "misc", "other"),
}
"""Names of each kind; a kind not listed goes by its own name. Repeats are likelier."""

BROADER: dict[str, str] = {
    **dict.fromkeys(
        ("writer", "politician", "scientist", "researcher", "musical artist"), "person"
    ),
    **dict.fromkeys(("company", "university", "team", "agency", "band", "group"), "organization"),
    **dict.fromkeys(("political party", "magazine", "academic journal"), "organization"),
    **dict.fromkeys(("city", "country", "region", "landmark", "facility", "address"), "location"),
    **dict.fromkeys(("software", "vehicle"), "product"),
    **dict.fromkeys(("book", "film", "song", "album", "poem"), "work"),
    **dict.fromkeys(("conference", "election"), "event"),
    **dict.fromkeys(("chemical compound", "chemical element"), "chemical"),
    **dict.fromkeys(("protein", "enzyme"), "biomolecule"),
}
"""A mention takes its kind's broader name when its own is not asked for."""

OWN = "own"
"""Source of our own sentences, in which every mention of every kind is marked."""

UNTRUSTED: dict[str, frozenset[str]] = {
    # re3d marks "we" and "his family" as organizations and keeps titles within names.
    "re3d": frozenset({"person", "organization", "nationality"}),
}
NEVER_MARKED = frozenset(
    {"email", "phone number", "ip address", "iban", "credit card number", "url", "disease", "drug"}
    | {"symptom", "money", "percentage", "programming language", "animal", "food", "date", "time"}
    | {"quantity", "identifier", "username", "duration", "address", "chemical", "biomolecule"}
)
"""Kinds that corpora skip; they may be asked in vain only of a row with no sign of them."""
SIGNS = re.compile(
    r"\d|@|#|http|www|\$|€|£|%|dollar|euro|pound|percent|(mon|tues|wednes|thurs|fri|satur|sun)day|"
    r"january|february|march|april|\bmay\b|june|july|august|september|october|november|december|"
    r"\b(day|today|tonight|yesterday|tomorrow|week|month|year|hour|minute|morning|evening|night|"
    r"afternoon|noon|spring|summer|autumn|fall|winter|century|decade)s?\b|"
    r"disease|syndrome|cancer|fever|flu|pain|drug|medic|acid|protein|gene|cell|oxide|"
    r"dog|cat|horse|bird|fish|species|food|eat|street|road|avenue|one|two|three|four|five|six|"
    r"seven|eight|nine|ten|hundred|thousand|million",
    re.IGNORECASE,
)

USUAL: tuple[tuple[str, ...], ...] = (
    ("person", "organization", "location"),
    ("person", "organization", "location", "date"),
    ("person", "organization", "location", "miscellaneous"),
    ("person", "company", "city", "country", "date"),
    ("person", "company", "location", "date", "product"),
    ("person", "company", "location", "date", "product", "event", "money"),
    ("name", "email", "phone number", "address", "company"),
    ("company", "product", "money", "date", "person", "job title"),
    ("disease", "drug", "symptom", "person", "date"),
    ("person", "organization", "location", "date", "event", "product", "email", "phone number"),
    ("city", "country", "date", "event", "person"),
    ("person", "date", "location"),
    ("company", "product"),
    ("person",),
)

KIND_OF: dict[str, str] = {}
for _kind, _names in NAMES.items():
    for _name in (_kind, *_names):
        KIND_OF.setdefault(_name, _kind)


def kind_of(label: str) -> str:
    """The kind a label names; an unknown label is a kind of its own."""
    return KIND_OF.get(label, label)


def chain(kind: str) -> tuple[str, ...]:
    """The kind itself, then what it is broadly."""
    return (kind, BROADER[kind]) if kind in BROADER else (kind,)


def answers(kinds: Sequence[str], prompt: Sequence[str]) -> list[list[int]]:
    """For each mention's kind, the places in the prompt that name it: its own, else its broader.

    The narrowest that is asked wins, as in CrossNER, where a country is not also a location.
    """
    asked: dict[str, list[int]] = {}
    for place, label in enumerate(prompt):
        asked.setdefault(kind_of(label), []).append(place)
    return [next((asked[k] for k in chain(kind) if k in asked), []) for kind in kinds]


class Asker:
    """Chooses the labels that a row is asked for while training."""

    def __init__(self, marked: Mapping[str, Iterable[str]]) -> None:
        """`marked` gives, for each source, the labels its rows are marked with."""
        self.marked = {
            source: sorted({kind_of(k) for k in kinds} - UNTRUSTED.get(source, frozenset()))
            for source, kinds in marked.items()
        }
        self.raw = {source: sorted(set(kinds)) for source, kinds in marked.items()}
        everything = {k for kinds in self.marked.values() for k in kinds} | set(NAMES)
        self.kinds = sorted(everything | set(BROADER.values()))

    def allowed(self, row: Row) -> tuple[list[str], list[str]]:
        """Kinds the row holds, under their own or a broader name, and kinds surely absent."""
        held = {kind_of(span.label) for span in row.spans} - UNTRUSTED.get(row.source, frozenset())
        present = sorted({link for kind in held for link in chain(kind)})
        unsure = {kind for kind in self.kinds if set(chain(kind)[1:]) & held}
        if "miscellaneous" in held:
            unsure |= set(self.kinds) - {"person", "organization", "location"}
        if row.source == OWN:
            absent = set(self.kinds) - {"miscellaneous"}
        else:
            absent = {k for k in self.kinds if set(chain(k)) & set(self.marked[row.source])}
            absent |= {b for k in self.marked[row.source] for b in chain(k)[1:]}
            if not SIGNS.search(" ".join(row.words)):
                absent |= NEVER_MARKED
        return present, sorted(absent - unsure - set(present))

    def prompt(self, row: Row, rng: random.Random, most: int = 14) -> list[str]:
        """Labels to ask: the corpus's own set, a usual one, or a random mix, in random order."""
        present, absent = self.allowed(row)
        fair = set(present) | set(absent)
        roll = rng.random()
        if row.source != OWN and roll < 0.45 and row.source not in UNTRUSTED:
            labels = list(self.raw[row.source])
            if rng.random() < 0.3:
                labels = rng.sample(labels, rng.randint(max(1, len(labels) // 2), len(labels)))
        elif roll < 0.7:
            labels = [x for x in rng.choice(USUAL) if kind_of(x) in fair]
        else:
            labels = [rng.choice(NAMES.get(k, (k,))) for k in present if rng.random() < 0.8]
            count = min(len(absent), rng.randint(1, 8))
            labels += [rng.choice(NAMES.get(k, (k,))) for k in rng.sample(absent, count)]
        labels = list(dict.fromkeys(labels)) or [rng.choice(NAMES.get(k, (k,))) for k in absent[:3]]
        rng.shuffle(labels)
        labels = labels[: most if roll >= 0.45 else 18] or ["person"]
        style = rng.random()
        if style < 0.06:
            return [label.capitalize() for label in labels]
        return [label.upper() for label in labels] if style < 0.09 else labels
