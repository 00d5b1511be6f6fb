"""Candidates that a safe lifecycle must turn away: taught wrong labels, or damaged on disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

SEED = 7


def mislabelled(source: Path, out: Path) -> Path:
    """Training data whose labels were mixed up: each stands for the one after it in the alphabet.

    Args:
        source: a folder of data in GLiNER's format.
        out: the folder to write; made where it does not exist.
    """
    out.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.glob("*.jsonl")):
        rows = [json.loads(line) for line in file.read_text("utf-8").splitlines() if line.strip()]
        labels = sorted({label for row in rows for *_, label in row["ner"]})
        wrong = dict(zip(labels, [*labels[1:], *labels[:1]], strict=True))
        for row in rows:
            row["ner"] = [[start, end, wrong[label]] for start, end, label in row["ner"]]
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (out / file.name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return out


def damaged(bundle: Path, out: Path) -> Path:
    """A bundle whose weights are not those that its golden answers were recorded from.

    Args:
        bundle: a bundle that works.
        out: the folder to write, which does not exist yet.
    """
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(bundle, out)
    file = out / "model.safetensors"
    generator = torch.Generator().manual_seed(SEED)
    weights = {
        name: one
        if one.numel() == 0 or not one.is_floating_point()
        else one
        + torch.randn(one.shape, generator=generator).to(one.dtype)
        * one.float().std(correction=0).to(one.dtype)
        for name, one in load_file(file).items()
    }
    save_file(weights, file, metadata={"format": "pt"})
    return out
