"""The command line: quick help, one line for a mistake, exit codes that scripts can use."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import rollouts
from rollouts import World

from pipeline import commands, errors
from pipeline.__main__ import main, parser
from pipeline.local.process import free_port
from pipeline.runs import local as localrun
from pipeline.settings import Settings

COMMANDS = (
    *("run", "compile", "upload", "schedule", "approve", "reject", "rollback"),
    *("status", "doctor", "poll", "webhook", "demo"),
)
HEAVY = {"mlflow", "kfp", "torch", "gliner", "matplotlib", "pandas", "kserve", "boto3"}


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    """All commands are listed with a line each, then examples and the exit codes."""
    with pytest.raises(SystemExit):
        main(["--help"])

    shown = capsys.readouterr().out
    for name in COMMANDS:
        assert re.search(rf"^    {name} +\w", shown, re.MULTILINE), name
    assert "python -m pipeline run --local" in shown
    codes = {
        one.exit_code
        for one in vars(errors).values()
        if isinstance(one, type) and issubclass(one, errors.PipelineError)
    }
    for code in codes:
        assert re.search(rf"\b{code} \w", shown.split("exit codes:")[1])


@pytest.mark.parametrize(
    "what",
    ["parser()", "main(['run', '--eval-data', 'x', '--min-f1', '80'])"],
    ids=["help", "mistake"],
)
def test_help_and_mistakes_need_no_heavy_library(what: str) -> None:
    """Both are answered at once: nothing large is imported."""
    code = (
        f"import sys; from pipeline.__main__ import main, parser; {what}; "
        "print(*{name.split('.')[0] for name in sys.modules})"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert HEAVY & set(done.stdout.split()) == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`COMMAND --help` says what the command does."""
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])

    assert ended.value.code == 0
    assert re.search(r"^[A-Z].+\.$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(
    "kind", [errors.PipelineError, errors.DataError, errors.RolloutBusy, errors.Unavailable]
)
def test_an_error_is_one_line_and_its_code(
    kind: type[errors.PipelineError],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What goes wrong on purpose has no traceback, and an exit code of its own."""

    def fail(_: object) -> int:
        raise kind("the reason")

    monkeypatch.setattr(commands, "compile_graphs", fail)

    code = main(["compile"])

    assert code == kind.exit_code
    assert capsys.readouterr().err == "pipeline: the reason\n"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--min-f1", "80"), "min_f1: "),
        (("--min-label-f1", '{"person": 80}'), "min_label_f1.person: "),
        (("--tolerance", "-0.1"), "tolerance is -0.1"),
        (("--review", "require"), "review is 'require'; it must be 'none' or 'required'"),
        (("--strategy", "bluegreen"), "rollout strategy: "),
        (("--canary-steps", "[10, 50]"), "rollout steps: must end at 100"),
        (("--hold-seconds", "700"), "max_seconds (600) must be more than hold_seconds (700)"),
        (("--training", '{"epoch": 1}'), "training parameter epoch: "),
        (("--min-examples", "-1"), "min_examples is -1"),
        (("--min-f1", "nan"), "--min-f1 nan: must be a number"),
    ],
)
@pytest.mark.parametrize(
    "command", [("run", "--local"), ("schedule", "--host", "http://127.0.0.1:9")]
)
def test_a_wrong_value_is_found_before_anything_starts(
    command: tuple[str, ...],
    given: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not by the step that takes it, hours later or every night; no server is asked."""
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIPELINE_TRACKING_URI", f"http://127.0.0.1:{free_port()}")

    code = main([*command, "--eval-data", "examples/eval", *given])

    error = capsys.readouterr().err
    assert code == errors.SettingsError.exit_code
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "home").exists()


def test_a_wrong_setting_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value out of bounds stops the command with the variable's name."""
    monkeypatch.setenv("PIPELINE_ROLLOUT", "by hand")

    code = main(["status"])

    assert code == 2
    assert "PIPELINE_ROLLOUT: " in capsys.readouterr().err


def test_a_run_without_mlflow_says_so_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No step is started to ask for minutes; the line says what to do, and nothing is left."""
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIPELINE_TRACKING_URI", f"http://127.0.0.1:{free_port()}")

    code = main(["run", "--local", "--eval-data", "examples/eval"])

    said = capsys.readouterr().err
    assert code == errors.Unavailable.exit_code
    assert "does not answer" in said
    assert "mlflow server" in said
    assert not (tmp_path / "home").exists()


@pytest.mark.server
@pytest.mark.parametrize(
    ("review", "champion", "code"),
    [("none", True, 7), ("required", True, 0), ("none", False, 0)],
    ids=["at once", "after a review", "the first version"],
)
def test_a_run_without_a_predictor_says_so_at_once(
    review: str,
    champion: bool,
    code: int,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where its rollout would fail no step is started; else it is only said. Both with the line
    that starts one."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    alone = settings.model_copy(update={"predictor_url": nowhere})
    for name, value in localrun.environment(alone).items():
        monkeypatch.setenv(name, value)
    if champion:
        rollouts.first_champion(settings, tmp_path / "golden", World(), "a" * 64)
    runs = []

    def run(graph: str, *_: object) -> localrun.Result:
        runs.append(graph)
        return localrun.Result("job", "promoted", 0, "", "", 1, "", tmp_path, 1.0)

    monkeypatch.setattr(localrun, "run", run)
    capsys.readouterr()

    ended = main(["run", "--local", "--eval-data", "examples/eval", "--review", review])

    said = "".join(capsys.readouterr())
    assert (ended, runs) == (code, [] if code else ["refresh"])
    assert f"no predictor answers at {nowhere}; start one with `MLFLOW_TRACKING_URI=" in said
    assert said.count("\n") == 1


@pytest.mark.server
@pytest.mark.parametrize(
    "command",
    [("run", "--local", "--eval-data", "examples/eval"), ("webhook",)],
    ids=["run", "webhook"],
)
def test_a_home_that_is_a_file(
    command: tuple[str, ...],
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line names the variable."""
    file = tmp_path / "file"
    file.write_text("")
    for name, value in localrun.environment(settings.model_copy(update={"home": file})).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIPELINE_WEBHOOK_SECRET", "any")

    code = main(command)

    assert code == errors.SettingsError.exit_code
    assert re.fullmatch(f"pipeline: PIPELINE_HOME: {file}.*: .*\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    "command", [("rollback",), ("approve", "7"), ("reject", "7"), ("poll",)], ids=lambda one: one[0]
)
def test_without_mlflow_a_command_says_so_at_once(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is asked once and briefly, and the line says what to do."""
    monkeypatch.setenv("PIPELINE_TRACKING_URI", f"http://127.0.0.1:{free_port()}")

    code = main(command)

    said = capsys.readouterr().err
    assert code == errors.Unavailable.exit_code
    assert "does not answer" in said
    assert "set PIPELINE_TRACKING_URI to its address" in said


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("poll", "--every", "-1"), "--every: -1 is no pause; it must be from 5 to 86400 seconds"),
        (("poll", "--every", "0"), "--every: 0 is no pause"),
        (("poll", "--every", "nan"), "--every: nan is no pause"),
        (("poll", "--every", "soon"), "--every: soon is no pause"),
    ],
)
def test_a_number_out_of_bounds_is_one_line(
    command: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the flag, the value and what would be right."""
    with pytest.raises(SystemExit) as ended:
        main(command)

    assert ended.value.code == errors.SettingsError.exit_code
    assert said in capsys.readouterr().err


def test_an_address_without_its_protocol_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not a warning of kfp's with its own source in it."""
    code = main(["upload", "--host", "kubeflow.example.com/pipeline"])

    assert code == errors.SettingsError.exit_code
    assert capsys.readouterr().err == (
        "pipeline: --host or PIPELINE_KFP_HOST is kubeflow.example.com/pipeline; it must begin "
        "with http:// or https://\n"
    )


def test_kubeflow_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    """What needs Kubeflow says how to name it."""
    code = main(["upload"])

    assert code == 2
    assert "--host or PIPELINE_KFP_HOST" in capsys.readouterr().err


def test_documented_commands_exist() -> None:
    """Every `python -m pipeline …` in the documents is one that the parser takes."""
    root = Path(__file__).parents[2]
    text = "\n".join(
        file.read_text("utf-8") for file in [root / "README.md", *(root / "docs").rglob("*.md")]
    )
    found = re.findall(r"python -m pipeline ([a-z]+)", text)

    assert set(found) <= set(COMMANDS)
    assert parser().parse_args(["approve", "7"]).version == 7
