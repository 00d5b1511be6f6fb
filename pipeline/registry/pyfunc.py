"""A GLiNER model for MLflow: `mlflow.pyfunc.load_model("models:/NAME/1").predict(texts)`.

MLflow stores this file beside the model and runs it on machines that have only gliner and
mlflow, so it imports nothing of this project.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel

DEFAULTS: dict[str, Any] = {
    "labels": ["person", "organization", "location", "date"],
    "threshold": 0.5,
    "flat_ner": True,
}
"""What is looked for where a call says nothing else."""
_MOST_POSITIONS = 2048
_LONGEST = 20_000
"""Characters of one word: more is no word, and only costs memory."""


class GlinerModel(PythonModel):
    """Finds entities in texts.

    Input: a DataFrame with a column `text` and, where texts have labels of their own, a column
    `labels` of lists; or a list of such rows, `[{"text": "Ada ran"}]`. MLflow itself refuses a
    list of bare texts, since the signature names its columns. Parameters: `labels`,
    `threshold`, `flat_ner`.

    Output: for each text a list of `{"text", "label", "start", "end", "score"}` by position;
    offsets count characters, so `text[start:end]` is the entity's text. Texts of any length
    are read, long ones in windows that overlap.
    """

    def load_context(self, context: Any) -> None:
        import torch
        from gliner import GLiNER

        folder = Path(context.artifacts["bundle"])
        self._model: Any = GLiNER.from_pretrained(
            str(folder),
            local_files_only=True,
            map_location="cuda" if torch.cuda.is_available() else "cpu",
        ).float()
        self._model.eval()
        config = json.loads((folder / "gliner_config.json").read_text(encoding="utf-8"))
        self._words = int(config["max_len"])
        self._width = int(config.get("max_width") or 12)
        encoder = config.get("encoder_config") or {}
        tokenizer = self._model.data_processor.transformer_tokenizer
        positions = min(int(tokenizer.model_max_length), _MOST_POSITIONS)
        if not encoder.get("relative_attention"):
            # RoBERTa and its kin number positions from behind the padding token.
            offset = int(encoder.get("pad_token_id") or 0) + 1
            unusable = offset if "roberta" in encoder.get("model_type", "") else 0
            positions = min(positions, int(encoder.get("max_position_embeddings") or positions))
            positions -= unusable
        self._positions = positions

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[list[dict[str, Any]]]:
        given = {**DEFAULTS, **(params or {})}
        threshold = given["threshold"]
        if not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be between 0 and 1, got {threshold!r}")
        texts, own = _texts(model_input)
        found = []
        for row, text in enumerate(texts):
            labels = _labels(given["labels"] if own is None else own[row], row)
            found.append(self._entities(text, labels, float(threshold), bool(given["flat_ner"])))
        return found

    def _entities(
        self, text: str, labels: list[str], threshold: float, flat: bool
    ) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for start, end, first, last in self._windows(text, labels):
            entities = self._model.predict_entities(
                text[start:end], labels, flat_ner=flat, threshold=threshold
            )
            found += [
                {
                    "text": text[start + one["start"] : start + one["end"]],
                    "label": one["label"],
                    "start": start + one["start"],
                    "end": start + one["end"],
                    "score": float(one["score"]),
                }
                for one in entities
                if first <= start + one["start"] < last
            ]
        if flat:
            found = _without_overlaps(found)
        return sorted(found, key=lambda one: (one["start"], -one["end"], -one["score"]))

    def _windows(self, text: str, labels: list[str]) -> Iterator[tuple[int, int, int, int]]:
        """Character ranges that one forward pass can read, and which beginnings each owns."""
        spans = [(start, end) for _, start, end in self._model.data_processor.words_splitter(text)]
        if not spans:
            return
        sizes = self._sizes([text[start:end] for start, end in spans])
        room = self._positions - sum(self._sizes(_prompt(labels, self._model.config))) - 4
        if room < 2 * self._width:
            raise ValueError(f"{len(labels)} labels leave no room for text; ask for fewer")
        at, owned = 0, 0
        while True:
            end, taken = at, 0
            while end < len(spans) and end - at < self._words:
                taken += sizes[end]
                if taken > room and end > at:
                    break
                end += 1
            if end == len(spans):
                yield spans[at][0], spans[-1][1], spans[owned][0], len(text) + 1
                return
            # What begins at or after `border` lies whole in the next window.
            border = max(owned + 1, end - self._width)
            yield spans[at][0], spans[end - 1][1], spans[owned][0], spans[border][0]
            at, owned = max(at + 1, border - self._width), border

    def _sizes(self, words: Sequence[str]) -> list[int]:
        """How many positions each word takes."""
        encoded = self._model.data_processor.transformer_tokenizer(
            [word[:_LONGEST] for word in words],
            is_split_into_words=True,
            add_special_tokens=False,
            truncation=False,
        )
        sizes = [0] * len(words)
        for index in encoded.word_ids(0):
            sizes[index] += 1
        return sizes


def _prompt(labels: Sequence[str], config: Any) -> list[str]:
    words = [word for label in labels for word in (str(config.ent_token), label)]
    return [*words, str(config.sep_token)]


def _without_overlaps(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The surest of those that overlap: two windows may each give one."""
    kept: list[dict[str, Any]] = []
    for one in sorted(found, key=lambda entity: -entity["score"]):
        if all(one["end"] <= other["start"] or other["end"] <= one["start"] for other in kept):
            kept.append(one)
    return kept


def _texts(given: Any) -> tuple[list[str], list[Any] | None]:
    """The texts, and the labels of each where the input has them."""
    own = None
    if isinstance(given, pd.DataFrame):
        if "text" not in given.columns:
            names = ", ".join(map(str, given.columns)) or "none"
            raise ValueError(f"the input needs a column 'text'; its columns are: {names}")
        texts = given["text"].tolist()
        own = given["labels"].tolist() if "labels" in given.columns else None
    elif isinstance(given, str):
        texts = [given]
    else:
        texts = list(given)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"text {row} must be a string, got {type(text).__name__}")
    return texts, own


def _labels(given: Any, row: int) -> list[str]:
    labels = [given] if isinstance(given, str) else list(given)
    if not labels:
        raise ValueError(f"text {row} has no labels to look for; give at least one")
    for label in labels:
        if not isinstance(label, str) or not label.strip():
            raise ValueError(f"text {row}: a label must be a word or words, got {label!r}")
    return list(dict.fromkeys(map(str, labels)))


mlflow.models.set_model(GlinerModel())
