"""Which systems take their turn."""

from __future__ import annotations

import pytest

from benchmarks.__main__ import chosen
from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.systems import SYSTEMS


def test_all() -> None:
    """A whole run leaves nothing out."""
    assert chosen(None, FULL.precisions, FULL.peers) == list(SYSTEMS)
    assert chosen(None, FULL.precisions, FULL.accurate_peers) == list(SYSTEMS)


def test_quick() -> None:
    """A quick one has ours but for fp32, and Flask, of which the ratio is, beside every model."""
    names = {one.name for one in chosen(None, QUICK.precisions, QUICK.accurate_peers)}

    assert names == {"ours-int8", "ours-bf16", "flask"}
    assert names < {one.name for one in chosen(None, QUICK.precisions, QUICK.peers)}


def test_only() -> None:
    """What is asked for by name, and nothing else."""
    assert [one.name for one in chosen(["flask"], ("bf16",), ("ray",))] == ["flask"]


@pytest.mark.parametrize("plan", [FULL, QUICK])
def test_every_name_is_known(plan: Plan) -> None:
    """A peer that was renamed would not be missed otherwise."""
    names = {one.name for one in SYSTEMS}

    assert {*(plan.peers or ()), *(plan.accurate_peers or ())} <= names
