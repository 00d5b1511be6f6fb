"""Which systems take their turn."""

from __future__ import annotations

import pytest

from benchmarks import machine
from benchmarks.__main__ import chosen
from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.systems import SYSTEMS
from predictor.engines import openvino


def test_all() -> None:
    """A whole run leaves nothing out."""
    assert chosen(None, FULL.forms, FULL.peers) == list(SYSTEMS)
    assert chosen(None, FULL.forms, FULL.accurate_peers) == list(SYSTEMS)


def test_quick() -> None:
    """A quick one has ours in int8 and bf16, and beside each model Flask, of which the ratio is."""
    names = {one.name for one in chosen(None, QUICK.forms, QUICK.accurate_peers)}

    assert names == {"ours-int8", "ours-bf16", "flask"}
    assert names < {one.name for one in chosen(None, QUICK.forms, QUICK.peers)}


@pytest.mark.parametrize(
    ("fast_in", "whole", "quick"),
    [
        (["FP32", "INT8", "BF16"], FULL.forms, ("int8", "bf16")),
        (["FP32", "INT8"], ("int8", "onnx-int8", "fp32", "onnx-fp32"), ("int8", "onnx-int8")),
    ],
    ids=["bf16", "none"],
)
def test_nothing_is_measured_as_what_it_is_not(
    monkeypatch: pytest.MonkeyPatch,
    fast_in: list[str],
    whole: tuple[str, ...],
    quick: tuple[str, ...],
) -> None:
    """Without bf16 OpenVINO computes in fp32, which has its own turn."""
    monkeypatch.setattr(openvino, "capabilities", lambda: fast_in)

    assert machine.forms(FULL.forms) == whole
    assert machine.forms(QUICK.forms) == quick


def test_only() -> None:
    """What is asked for by name, and nothing else."""
    assert [one.name for one in chosen(["flask"], ("bf16",), ("ray",))] == ["flask"]


@pytest.mark.parametrize("plan", [FULL, QUICK])
def test_every_name_is_known(plan: Plan) -> None:
    """A peer that was renamed would not be missed otherwise."""
    names = {one.name for one in SYSTEMS}

    assert {*(plan.peers or ()), *(plan.accurate_peers or ())} <= names
