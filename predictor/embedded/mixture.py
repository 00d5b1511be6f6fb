"""What the model trains on: rounds of rows drawn from every corpus and from our own sentences."""

import random
from collections.abc import Iterator, Mapping, Sequence

from pipeline.dataset import WORD, Row, resplit
from predictor.embedded.augment import join, recase, rename
from predictor.embedded.batches import Example, bucketed
from predictor.embedded.encoder import MAX_WORDS
from predictor.embedded.labels import NAMES, OWN, Asker
from predictor.embedded.sentences import Writer

SHARES: dict[str, float] = {"wikigold": 1.6, "btc": 0.25, "wnut17": 0.35, "sec": 0.35, "re3d": 0.6}
"""Share of a corpus's rows drawn in each round; others, small and dense, are drawn oftener."""
OTHERS = 2.0
OWN_ROWS = 2_600
"""Our own sentences in each round."""
LONG = 0.06
"""Share of examples that are several rows joined, up to the longest the model takes."""
RENAMED = 0.35


class Mixture:
    """Endless batches of examples, decided by the seed."""

    def __init__(self, corpora: Mapping[str, Sequence[Row]], seed: int, pieces: int) -> None:
        self.rng = random.Random(seed)
        self.pieces = pieces
        self.corpora = {
            source: [clean(resplit(r)) for r in rows] for source, rows in corpora.items()
        }
        self.writer = Writer(self.rng)
        marked: dict[str, set[str]] = {OWN: set(NAMES)}
        for source, rows in self.corpora.items():
            marked[source] = {span.label for row in rows for span in row.spans}
        self.asker = Asker(marked)
        self.names = {source: self._names(rows) for source, rows in self.corpora.items()}

    def batches(self) -> Iterator[list[Example]]:
        """Batch after batch, without end."""
        while True:
            yield from bucketed(self.round(), self.pieces, self.rng)

    def round(self) -> list[Example]:
        """One draw from every source, each row altered and asked afresh."""
        examples = []
        for source, rows in self.corpora.items():
            for row in self._draw(rows, SHARES.get(source, OTHERS)):
                if self.rng.random() < RENAMED:
                    row = rename(row, self.names[source], self.rng)
                examples.append(self._example(row, rows))
        own = self.writer.write(OWN_ROWS)
        return examples + [self._example(row, own) for row in own]

    def _draw(self, rows: Sequence[Row], share: float) -> list[Row]:
        whole, part = divmod(share, 1.0)
        drawn = [*rows] * int(whole)
        return drawn + self.rng.sample(list(rows), int(part * len(rows)))

    def _example(self, row: Row, others: Sequence[Row]) -> Example:
        if self.rng.random() < LONG:
            target, parts = self.rng.randint(40, MAX_WORDS), [row]
            while sum(len(part.words) for part in parts) < target:
                parts.append(self.rng.choice(others))
            row = join(parts)
        row = cut(recase(row, self.rng), MAX_WORDS)
        return Example(row, tuple(self.asker.prompt(row, self.rng)))

    def _names(self, rows: Sequence[Row]) -> dict[str, list[tuple[str, ...]]]:
        """Mentions by label: the corpus's own, and of people and places as many of ours again."""
        names: dict[str, list[tuple[str, ...]]] = {}
        for row in rows:
            for span in row.spans:
                names.setdefault(span.label, []).append(row.words[span.start : span.end + 1])
        fills = {"person": ["person", "person", "last"], "location": ["city", "country", "region"]}
        for label, slots in fills.items():
            if label in names:
                for _ in range(max(400, len(names[label]))):
                    fill = self.writer.slots.fill(self.rng.choice(slots))
                    names[label].append(tuple(WORD.findall(fill)))
        return names


def clean(row: Row) -> Row:
    """The row without mentions that are only a sign, as "@" is marked in tweets."""
    spans = tuple(
        s for s in row.spans if any(w[0].isalnum() for w in row.words[s.start : s.end + 1])
    )
    return Row(row.words, spans, row.source)


def cut(row: Row, words: int) -> Row:
    """The row's first words, with the mentions that lie within them."""
    return Row(row.words[:words], tuple(s for s in row.spans if s.end < words), row.source)
