"""The PyTorch engine against GLiNER itself, on real checkpoints with random weights."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

import checkpoints
import pytest
import torch
from gliner import GLiNER
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch._dynamo.testing import CompileCounterWithBackend

from predictor import bundle, engines
from predictor.engines import Window
from predictor.engines.torch import LONGEST_FORWARD, TorchEngine
from predictor.errors import BundleError
from predictor.extraction import Extractor, Label, Query

LABELS = ("person", "location", "date of birth")
TEXTS = (
    "Ada Lovelace was born in London.",
    "so it goes",
    "The Zürich office (of Ada & Co.) moved to 東京 in 1999; nobody knew why?!",
    "a-b_c d " * 7,
)


@pytest.fixture(scope="module", params=["bert", "deberta"])
def folder(request: pytest.FixtureRequest, tiny_bert: Path, tiny_deberta: Path) -> Path:
    return tiny_bert if request.param == "bert" else tiny_deberta


@pytest.fixture(scope="module")
def engine(folder: Path) -> TorchEngine:
    return TorchEngine.load(folder, "cpu", "fp32")


@pytest.fixture(scope="module")
def gliner(folder: Path) -> Any:
    return GLiNER.from_pretrained(str(folder), local_files_only=True)


def ask(engine: TorchEngine, text: str, threshold: float, **options: bool) -> list[dict[str, Any]]:
    labels = tuple(Label(name, name, threshold) for name in LABELS)
    flags = {"flat_ner": True, "multi_label": False} | options
    [result] = Extractor(engine).extract([Query(text, labels, **flags)])
    return [
        {name: getattr(one, name) for name in ("text", "label", "start", "end", "score")}
        for one in result.entities
    ]


def position(entity: dict[str, Any]) -> tuple[int, int, float]:
    return entity["start"], -entity["end"], -entity["score"]


@pytest.mark.parametrize("flat_ner", [True, False])
@pytest.mark.parametrize("multi_label", [True, False])
@pytest.mark.parametrize("text", TEXTS)
def test_one_window_equals_gliner(
    engine: TorchEngine, gliner: Any, text: str, flat_ner: bool, multi_label: bool
) -> None:
    """For a text that fits one window the result is GLiNER's own."""
    options = {"flat_ner": flat_ner, "multi_label": multi_label}
    expected = gliner.predict_entities(text, list(LABELS), threshold=0.45, **options)

    ours = ask(engine, text, 0.45, **options)

    assert expected, "the checkpoint finds nothing, so this would prove nothing"
    for mine, theirs in zip(ours, sorted(expected, key=position), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-5)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=120))
def test_offsets_on_a_real_tokenizer(tiny: TorchEngine, text: str) -> None:
    """text[start:end] is the entity for any text, and no word is lost to another's place."""
    found = ask(tiny, text, 0.0, flat_ner=False)

    assert all(text[one["start"] : one["end"]] == one["text"] for one in found)


@pytest.fixture(scope="module")
def tiny(tiny_bert: Path) -> TorchEngine:
    return TorchEngine.load(tiny_bert, "cpu", "fp32")


def test_dropped_words_keep_the_scores_of_the_others(tiny: TorchEngine) -> None:
    """GLiNER's own offsets shift behind a control character; ours do not."""
    clean = ask(tiny, "ada was born in london", 0.45)
    marked = ask(tiny, "\x01 ada \x02 was \u200b born in london", 0.45)

    assert [one["label"] for one in marked] == [one["label"] for one in clean]
    assert [one["score"] for one in marked] == pytest.approx([one["score"] for one in clean])
    assert [one["text"].split()[0] for one in marked] == [one["text"].split()[0] for one in clean]


def test_long_text_never_passes_the_models_limits(engine: TorchEngine) -> None:
    """Windows hold to the words and the positions that the encoder has."""
    letters = random.Random(3)
    words = ["".join(letters.choices("xyz", k=letters.randrange(1, 40))) for _ in range(200)]

    [result] = Extractor(engine).extract(
        [
            Query(
                " ".join(words),
                tuple(Label(name, name, 0.5) for name in LABELS),
                flat_ner=True,
                multi_label=False,
            )
        ]
    )

    assert result.words == 200
    assert result.windows > 200 / engine.limits.words


def test_positions(tiny_bert: Path, tiny_deberta: Path) -> None:
    """Absolute positions bound a pass; relative ones do not, so we do."""
    bert = TorchEngine.load(tiny_bert, "cpu", "fp32").limits
    deberta = TorchEngine.load(tiny_deberta, "cpu", "fp32").limits

    assert (bert.positions, deberta.positions) == (512, LONGEST_FORWARD)


def test_prompt_positions_are_what_the_tokenizer_makes(engine: TorchEngine, gliner: Any) -> None:
    """Prompt and text together take the positions that we count."""
    words = ["ada", "was", "born"]
    encoded = gliner.data_processor.tokenize_inputs([words], [list(LABELS)])

    counted = engine.prompt_positions(LABELS) + sum(engine.subwords(words))

    assert encoded["input_ids"].shape[1] == counted


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_low_precision(engine: TorchEngine, folder: Path, precision: str) -> None:
    """Scores in half the bits are close to fp32's, beside a longer text too.

    A CPU computes in fp16 as well, if slowly, and shows what is too large a number for it.
    """
    windows = [
        Window(("Ada", "Lovelace", "was", "born", "in", "London"), LABELS),
        Window(("so", "it", "goes"), LABELS[:2]),
    ]

    half = TorchEngine.load(folder, "cpu", precision).score(windows)

    for ours, reference in zip(half, engine.score(windows), strict=True):
        assert ours == pytest.approx(reference, abs=0.02)


@pytest.mark.parametrize("kind", ["roberta", "modernbert"])
def test_encoders_that_are_not_rewritten(
    tmp_path: Path, kind: str, recwarn: pytest.WarningsRecorder
) -> None:
    """They run as GLiNER has them: the results are its own."""
    folder = checkpoints.write(tmp_path, kind)
    gliner = GLiNER.from_pretrained(str(folder), local_files_only=True)
    recwarn.clear()

    engine = TorchEngine.load(folder, "cpu", "fp32")

    assert engine.rewritten is None
    assert not [one for one in recwarn if "low_cpu_mem_usage" in str(one.message)]
    for text in TEXTS:
        expected = gliner.predict_entities(text, list(LABELS), threshold=0.45)
        assert expected
        for mine, theirs in zip(
            ask(engine, text, 0.45), sorted(expected, key=position), strict=True
        ):
            assert mine == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("flat_ner", [True, False])
@pytest.mark.parametrize("text", TEXTS)
def test_token_level_equals_gliner(token_level: Path, text: str, flat_ner: bool) -> None:
    """Models that score words in place of spans give GLiNER's own result too."""
    gliner = GLiNER.from_pretrained(str(token_level), local_files_only=True)
    expected = gliner.predict_entities(text, list(LABELS), threshold=0.45, flat_ner=flat_ner)

    ours = ask(TorchEngine.load(token_level, "cpu", "fp32"), text, 0.45, flat_ner=flat_ner)

    assert expected, "the checkpoint finds nothing, so this would prove nothing"
    for mine, theirs in zip(ours, sorted(expected, key=position), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-5)


def test_compiled(tiny_deberta: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All graphs are there when it is loaded, and have the scores of what is not compiled.

    They run as PyTorch runs them: kernels would take a C++ compiler, and a GPU to matter.
    """
    graphs = CompileCounterWithBackend("eager")
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=graphs))
    plain = TorchEngine.load(tiny_deberta, "cpu", "fp32")
    engine = TorchEngine.load(tiny_deberta, "cpu", "fp32", compiled=True)
    made = graphs.frame_count
    words, prompts = ("Ada", "was", "born", "in", "London", "on", "a", "Sunday"), ("person", "city")

    for sizes in ((3, 5), (8, 2, 7), (4,), (8,), (1, 2), (3, 3, 3, 3)):
        for labels in (prompts, prompts[:1], (*prompts, "day", "month", "year")):
            batch = [Window(words[:size], labels) for size in sizes]
            for ours, theirs in zip(engine.score(batch), plain.score(batch), strict=True):
                assert ours == pytest.approx(theirs, abs=1e-5)
    assert made
    assert graphs.frame_count == made


def test_only_a_gpu_gets_what_is_compiled(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU the setting changes nothing: OpenVINO is what fuses there."""
    asked: list[bool] = []
    monkeypatch.setattr(
        TorchEngine, "load", lambda *_, compiled: asked.append(compiled), raising=True
    )
    found = bundle.locate(str(tiny_bert))

    for device in ("cpu", "cuda:0"):
        engines.load(found, device, "fp32", compiled=True)

    assert asked == [False, True]


@pytest.fixture(scope="module")
def token_level(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.write(tmp_path_factory.mktemp("token"), "bert", span_mode="token_level")


def test_kinds_that_are_not_served(tiny_bert: Path) -> None:
    """A kind of GLiNER that is not served yet is refused by name, not served wrongly."""
    tiny = TorchEngine.load(tiny_bert, "cpu", "fp32", rewrite=False)

    class BiEncoderSpanGLiNER:
        config = tiny._model.config

    with pytest.raises(BundleError, match="a BiEncoderSpanGLiNER is not served yet"):
        TorchEngine(BiEncoderSpanGLiNER(), "cpu", "fp32")
