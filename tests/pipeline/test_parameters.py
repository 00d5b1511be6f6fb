"""Flags of the command line come from the compiled graph."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from pipeline import parameters
from pipeline.errors import SettingsError
from pipeline.parameters import Parameter

KINDS = (
    Parameter("eval_data", "STRING", None, "Data, 100% ours."),
    Parameter("min_f1", "NUMBER_DOUBLE", 0.5, "Lowest F1."),
    Parameter("max_size_mb", "NUMBER_DOUBLE", 0, "Largest size."),
    Parameter("min_requests", "NUMBER_INTEGER", 50.0, "Fewest requests."),
    Parameter("force", "BOOLEAN", False, "Let it pass."),
    Parameter("canary_steps", "LIST", [10.0, 50.0, 100.0], "Shares."),
    Parameter("training", "STRUCT", {}, "Parameters."),
)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    parameters.add_flags(made, KINDS)
    return made


def read(*arguments: str) -> dict[str, Any]:
    return parameters.given(parser().parse_args([*arguments]), KINDS)


def test_every_parameter_of_the_graph_is_explained() -> None:
    """The compiled graphs have parameters, each with a sentence on what it means."""
    for graph in ("refresh", "rollout"):
        found = parameters.of(graph)

        assert found
        assert [one.name for one in found if not one.description.endswith(".")] == []


def test_only_what_was_given_is_passed_on() -> None:
    """What the command line leaves out keeps the graph's default."""
    assert read("--eval-data", "s3://data/eval") == {"eval_data": "s3://data/eval"}


def test_values_take_the_parameters_type() -> None:
    """Numbers, truth values, lists and objects arrive as such."""
    arguments = (
        *("--eval-data", "a", "--min-f1", "0.7", "--min-requests", "9", "--force", "True"),
        *("--canary-steps", "[5, 100]", "--training", '{"epochs": 2}'),
    )

    assert read(*arguments) == {
        "eval_data": "a",
        "min_f1": 0.7,
        "min_requests": 9,
        "force": True,
        "canary_steps": [5, 100],
        "training": {"epochs": 2},
    }


@pytest.mark.parametrize(
    ("flag", "text", "right"),
    [
        ("--min-f1", "high", "a number"),
        ("--min-f1", "nan", "a number"),
        ("--max-size-mb", "inf", "a number"),
        ("--min-requests", "1.5", "a whole number"),
        ("--training", '{"epochs": NaN}', "a JSON object"),
        ("--force", "yes", "true or false"),
        ("--canary-steps", "{}", "a JSON array"),
        ("--training", "[1", "a JSON object"),
    ],
)
def test_wrong_type_is_refused(flag: str, text: str, right: str) -> None:
    """The flag, the value and what would be right are in one line."""
    with pytest.raises(SettingsError) as caught:
        read("--eval-data", "a", flag, text)

    assert str(caught.value) == f"{flag} {text}: must be {right}"


def test_required_flag_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """A parameter without a default must be given."""
    with pytest.raises(SystemExit):
        read()

    assert "--eval-data" in capsys.readouterr().err


def test_help_shows_defaults_as_people_write_them() -> None:
    """Whole numbers have no point, and a percent sign breaks nothing."""
    shown = " ".join(parser().format_help().split())

    assert "100% ours" in shown
    assert "(default: 50)" in shown
    assert "(default: [10, 50, 100])" in shown
