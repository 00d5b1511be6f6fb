"""Tests of `pipeline.steps.train`: real training processes, which are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import lifecycle
import pytest

from pipeline.errors import DataError
from pipeline.registry import Registry
from pipeline.settings import Settings
from pipeline.steps import train
from pipeline.training import TrainParameters
from predictor import bundle

PARAMETERS = TrainParameters(
    max_steps=160, encoder_rate=1e-3, head_rate=1e-3, eval_every=20, patience=99
)
SCRIPT = """
import sys
from pathlib import Path
from pipeline.steps import train
base, data, held_out, out, parameters = sys.argv[1:]
train.run(
    base, Path(data), Path(held_out), Path(out), job="job",
    parameters=train.TrainParameters.model_validate_json(parameters),
)
"""


@pytest.mark.training
@pytest.mark.server
@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_the_same(
    tiny_bert: Path,
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Killed with -9 in the middle and run again, it gives the weights of an undisturbed run."""
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)  # another count rounds otherwise
    data = lifecycle.write_data(tmp_path / "train")
    held_out = lifecycle.write_data(tmp_path / "eval", 8, seed=2)
    env = {
        "PIPELINE_TRACKING_URI": settings.tracking_uri,
        "PIPELINE_EXPERIMENT": settings.experiment,
        "PIPELINE_HOME": str(settings.home),
    }
    arguments = [str(one) for one in (tiny_bert, data, held_out, tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments, PARAMETERS.model_dump_json()],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step 60/"):
            process.send_signal(signal.SIGKILL)
            break
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "out").exists()

    alone = settings.model_copy(update={"home": tmp_path / "alone"})
    undisturbed = tmp_path / "undisturbed"
    for out, job, where in ((tmp_path / "out", "job", settings), (undisturbed, "other", alone)):
        train.run(
            str(tiny_bert), data, held_out, out, job=job, parameters=PARAMETERS, settings=where
        )

    said = capfd.readouterr().out
    assert "goes on at step" in said
    assert bundle.digest(tmp_path / "out") == bundle.digest(undisturbed)
    assert not list((settings.home / "checkpoints").rglob("*.json"))
    manifest = json.loads((undisturbed / "bundle.json").read_text())
    assert manifest["dataset_digest"]
    assert "## Fine-tuning" in (undisturbed / "MODEL_CARD.md").read_text()
    assert json.loads((undisturbed / "golden.json").read_text())["requests"]
    registry = Registry(settings)
    run = registry.run("job")
    history = registry.client.get_metric_history(run.info.run_id, "train_loss")
    steps = [one.step for one in sorted(history, key=lambda one: one.step)]
    assert steps == list(range(5, 161, 5))
    assert run.data.params["train.seed"] == "42"


@pytest.mark.server
def test_data_without_mentions_is_refused(
    tiny_bert: Path, tmp_path: Path, settings: Settings
) -> None:
    """There is nothing to learn from texts that nobody marked."""
    (tmp_path / "a.jsonl").write_text('{"tokenized_text": ["nothing"], "ner": []}\n')

    with pytest.raises(DataError, match="no labelled mention"):
        train.run(
            str(tiny_bert),
            tmp_path,
            tmp_path,
            tmp_path / "out",
            job="job",
            parameters=PARAMETERS,
            settings=settings,
        )
