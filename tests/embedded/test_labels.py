import random

from pipeline.dataset import Row, Span
from predictor.embedded.labels import OWN, Asker, answers, kind_of


def asker() -> Asker:
    return Asker({"wiki": {"person", "location", "organization"}, OWN: {"city", "company"}})


def test_the_narrowest_asked_label_wins() -> None:
    """A city is a location only where no city is asked for."""
    assert answers(["city"], ["person", "location"]) == [[1]]
    assert answers(["city"], ["city", "location"]) == [[0]]
    assert answers(["city"], ["person"]) == [[]]


def test_synonyms_name_one_kind() -> None:
    """Names of a kind are all it goes by; an unknown label stands for itself."""
    assert kind_of("organisation") == kind_of("organization")
    assert kind_of("astronomical object") == "astronomical object"


def test_what_a_corpus_does_not_mark_is_never_asked_in_vain() -> None:
    """A row of places is not asked for cities, which its corpus does not tell apart."""
    row = Row(("In", "Paris", "on", "Monday"), (Span(1, 1, "location"),), "wiki")

    _, absent = asker().allowed(row)

    assert "person" in absent
    assert not {"city", "country", "date", "location", "product"} & set(absent)


def test_prompts_repeat_with_the_seed() -> None:
    """The same generator state asks the same labels."""
    row = Row(("Ada", "ran"), (Span(0, 0, "person"),), "wiki")

    prompts = [[asker().prompt(row, rng) for _ in range(20)] for rng in map(random.Random, (1, 1))]

    assert prompts[0] == prompts[1]
    assert all(prompt and len(prompt) == len(set(prompt)) for prompt in prompts[0])
