"""What fills the slots of our sentences: lists from `lexicon/`, and made-up dates, sums, numbers.

Everything that could reach someone is reserved for fiction: example.com, 555-01xx, 192.0.2.x.
"""

import pathlib
import random
from collections.abc import Callable

LEXICON = pathlib.Path(__file__).resolve().parent / "lexicon"
MONTHS = (
    "January February March April May June July August September October November December"
).split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
SMALL = "two three four five six seven eight nine ten twelve fifteen twenty thirty".split()
LETTERS = "abcdefghijklmnopqrstuvwxyz"

KINDS = {
    "first": "person",
    "last": "person",
    "year": "date",
    "month": "date",
    "weekday": "date",
    "relative": "date",
    "org": "agency",
    "gadget": "product",
}
"""Kind of a slot's mention where the slot has a name of its own."""


def read(name: str) -> list[str]:
    """The entries of a list: separated by `|` or line ends, `#` starts a comment line."""
    lines = (LEXICON / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    kept = " | ".join(line for line in lines if not line.startswith("#"))
    return [entry.strip() for entry in kept.split("|") if entry.strip()]


class Slots:
    """Fills slots by name; the same generator state gives the same fill."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.lists = {path.stem: read(path.stem) for path in LEXICON.glob("*.txt")}
        self.makers: dict[str, Callable[[], str]] = {
            "person": self._person,
            "company": self._company,
            "university": self._university,
            "team": self._team,
            "date": self._date,
            "year": self._year,
            "month": lambda: self._pick(MONTHS) + self._pick(["", "", f" {self._year()}"]),
            "weekday": lambda: self._pick(DAYS),
            "time": self._time,
            "duration": self._duration,
            "money": self._money,
            "percentage": lambda: f"{self._figure()}{self._pick(['%', '%', ' %', ' percent'])}",
            "quantity": lambda: f"{self._figure()} {self._pick(self.lists['units'])}",
            "email": self._email,
            "phone": self._phone,
            "url": self._url,
            "username": lambda: "@" + self._handle(),
            "ip": lambda: (
                f"{self._pick(['192.0.2', '198.51.100', '203.0.113'])}.{rng.randint(1, 254)}"
            ),
            "identifier": self._identifier,
            "iban": self._iban,
            "card": lambda: " ".join(f"{rng.randint(0, 9999):04d}" for _ in range(4)),
            "address": self._address,
        }

    def fill(self, slot: str) -> str:
        """Text for a slot; KeyError when neither a maker nor a list has its name."""
        maker = self.makers.get(slot)
        return maker() if maker else self._pick(self.lists[slot])

    def _pick(self, choices: list[str]) -> str:
        return self.rng.choice(choices)

    def _figure(self) -> str:
        whole = self.rng.choice([self.rng.randint(1, 99), self.rng.randint(1, 9) * 100])
        return self._pick([str(whole), f"{whole}.{self.rng.randint(1, 9)}", self._pick(SMALL)])

    def _person(self) -> str:
        first, last = self._pick(self.lists["first"]), self._pick(self.lists["last"])
        roll = self.rng.random()
        if roll < 0.25:
            return self._pick(self.lists["famous"])
        if roll < 0.35:
            return f"{first} {self._pick(list('ABCDEFGHJKLMNPRSTW'))}. {last}"
        if roll < 0.40:
            return f"{first} {self._pick(self.lists['first'])} {last}"
        if roll < 0.44:
            return f"{first} {last}-{self._pick(self.lists['last'])}"
        return f"{first} {last}"

    def _company(self) -> str:
        roll = self.rng.random()
        if roll < 0.6:
            return self._pick(self.lists["company"])
        stem = self._pick(self.lists["stem" if roll < 0.8 else "last"])
        tail = self._pick(self.lists["company_tail"])
        return self._pick(
            [f"{stem} {tail}", f"{stem} {tail}", f"{stem} & {self._pick(self.lists['last'])}"]
        )

    def _university(self) -> str:
        if self.rng.random() < 0.4:
            return self._pick(self.lists["university"])
        city = self._pick(self.lists["city"])
        return self._pick([f"University of {city}", f"{city} University", f"{city} College"])

    def _team(self) -> str:
        if self.rng.random() < 0.6:
            return self._pick(self.lists["team"])
        return f"{self._pick(self.lists['city'])} {self._pick(['United', 'City', 'Tigers', 'FC', 'Rovers'])}"

    def _year(self) -> str:
        return str(self.rng.choice([self.rng.randint(1990, 2027), self.rng.randint(1600, 1990)]))

    def _date(self) -> str:
        day, month, year = self.rng.randint(1, 28), self.rng.choice(MONTHS), self._year()
        number, short = MONTHS.index(month) + 1, month[:3]
        tail = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd"}.get(day, "th")
        return self._pick(
            [
                f"{day} {month} {year}", f"{month} {day}, {year}", f"{day} {month} {year}",
                f"{month} {day}", f"{day} {month}", f"{month} {year}", f"{month} {day}{tail}",
                f"{day}{tail} of {month} {year}", f"{year}-{number:02d}-{day:02d}",
                f"{day:02d}/{number:02d}/{year}", f"{number}/{day}/{year}",
                f"{day}.{number}.{year}", f"{short} {day}, {year}", f"{day} {short} {year}",
                f"{self._pick(DAYS)}, {day} {month}", f"{self._pick(DAYS)}, {month} {day}, {year}",
                year, year, month, self._pick(DAYS), self._pick(self.lists["relative"]),
            ]
        )  # fmt: skip

    def _time(self) -> str:
        hour, minute = self.rng.randint(1, 12), self.rng.choice([0, 5, 15, 20, 30, 45, 59])
        return self._pick(
            [f"{hour} pm", f"{hour} a.m.", f"{hour}:{minute:02d}", f"{hour}:{minute:02d} pm",
             f"{hour + 11:02d}:{minute:02d}", "noon", "midnight", f"{hour} o'clock", f"{hour}am"]
        )  # fmt: skip

    def _duration(self) -> str:
        unit = self._pick(["minutes", "hours", "days", "weeks", "months", "years"])
        return f"{self._pick([str(self.rng.randint(2, 60)), self._pick(SMALL)])} {unit}"

    def _money(self) -> str:
        figure = self._pick(
            [f"{self.rng.randint(2, 999)}", f"{self.rng.randint(1, 99)}.{self.rng.randint(10, 99)}",
             f"{self.rng.randint(1, 999)},{self.rng.randint(0, 999):03d}", f"{self.rng.randint(1, 99)}.{self.rng.randint(1, 9)}"]
        )  # fmt: skip
        scale = self._pick(["", "", " million", " billion", "m", "bn", "k"])
        spelled = " million" if scale in ("m", "bn", "k") else scale
        sign = self._pick(["$", "$", "€", "£", "US$", "¥", "₹"])
        name = self._pick(
            ["dollars", "euros", "pounds", "USD", "EUR", "yen", "rupees", "Swiss francs"]
        )
        return self._pick(
            [f"{sign}{figure}{scale}", f"{sign}{figure}{scale}", f"{figure}{spelled} {name}",
             f"{self._pick(SMALL)}{spelled or ' thousand'} {name}"]
        )  # fmt: skip

    def _handle(self) -> str:
        name = self._pick(self.lists["first"]).lower()
        return self._pick(
            [name, f"{name}{self.rng.randint(1, 99)}", f"{name}_{self._pick(self.lists['stem']).lower()}",
             f"the{name}", f"{name}{self._pick(self.lists['last']).lower()}"]
        ).replace(" ", "")  # fmt: skip

    def _email(self) -> str:
        first, last = (
            self._pick(self.lists["first"]).lower(),
            self._pick(self.lists["last"]).lower(),
        )
        local = self._pick(
            [f"{first}.{last}", first, f"{first[0]}{last}", f"{first}_{last}", f"{first}{self.rng.randint(1, 99)}",
             self._pick(["info", "sales", "support", "contact", "jobs", "press", "hello", "billing"])]
        ).replace(" ", "").replace("'", "")  # fmt: skip
        return f"{local}@{self._domain()}"

    def _domain(self) -> str:
        stem = self._pick(self.lists["stem"]).lower().replace(" ", "")
        return self._pick(
            [
                "example.com",
                "example.org",
                "example.net",
                "mail.example.com",
                f"{stem}.example",
                f"{stem}.example.com",
            ]
        )

    def _phone(self) -> str:
        tail, area = f"{self.rng.randint(0, 99):02d}", self.rng.randint(201, 989)
        return self._pick(
            [f"555-01{tail}", f"({area}) 555-01{tail}", f"+1 {area} 555 01{tail}", f"{area}-555-01{tail}",
             f"+1-{area}-555-01{tail}", f"+44 20 7946 0{self.rng.randint(100, 999)}", f"020 7946 0{tail}5",
             f"+44 7700 900{self.rng.randint(100, 999)}", f"+33 1 99 00 {tail} 12", f"+49 30 23125 {self.rng.randint(100, 999)}",
             f"{area}.555.01{tail}", f"+1{area}55501{tail}"]
        )  # fmt: skip

    def _url(self) -> str:
        domain = self._domain()
        page = self._pick(["", "", "/about", "/news/2024", "/shop", "/docs/start.html", "/login"])
        return self._pick(
            [
                f"https://{domain}{page}",
                f"http://www.{domain}{page}",
                f"www.{domain}{page}",
                f"{domain}",
            ]
        )

    def _identifier(self) -> str:
        letters = "".join(self.rng.choice(LETTERS).upper() for _ in range(self.rng.randint(2, 3)))
        number = self.rng.randint(1000, 9999999)
        return self._pick([f"{letters}-{number}", f"{letters}{number}", f"#{number}", f"{number}"])

    def _iban(self) -> str:
        groups = [f"{self.rng.randint(0, 9999):04d}" for _ in range(4)]
        return f"{self._pick(['DE', 'FR', 'GB', 'NL', 'ES'])}00 {' '.join(groups)}".replace(
            " ", self._pick([" ", ""])
        )

    def _address(self) -> str:
        street = f"{self._pick(self.lists['last'])} {self._pick(['Street', 'Road', 'Avenue', 'Lane', 'Drive', 'St', 'Boulevard'])}"
        number = self.rng.randint(1, 999)
        city = self._pick(self.lists["city"])
        return self._pick(
            [f"{number} {street}", f"{number} {street}, {city}", f"{number} {street}, {city} {self.rng.randint(10000, 99999)}"]
        )  # fmt: skip
