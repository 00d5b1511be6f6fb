"""How long words are for the model, remembered for those that come again."""

from __future__ import annotations

from collections.abc import Sequence

from predictor.engines import Engine

_MOST_WORDS = 20_000
"""Words remembered, a few megabytes of them: most words of most texts are among the common."""


class WordLengths:
    """Counts the positions of words. May be called from any thread.

    A batch is bounded and filled by lengths, and to take every text through the tokenizer for
    them would be to do its work twice.

    Args:
        engine: has the tokenizer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[str, int] = {}

    def of(self, words: Sequence[str]) -> list[int]:
        """Positions that each word takes, give or take one where it stands first."""
        known = self._known
        missing = list({word for word in words if word not in known})
        if missing:
            if len(known) + len(missing) > _MOST_WORDS:
                self._known = known = {}
                missing = list(set(words))
            known.update(zip(missing, self._engine.subwords(missing), strict=True))
        return [known[word] for word in words]
