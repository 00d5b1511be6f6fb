"""Trains the embedded model: `python -m predictor.embedded.train DATA_DIR OUT`."""

import argparse
import pathlib
import random
import time
from collections.abc import Iterator, Sequence

import torch
from gliner import GLiNER
from gliner.model import UniEncoderSpanGLiNER

from pipeline.dataset import Row, resplit
from pipeline.errors import DataError
from predictor.embedded import encoder, vocabulary
from predictor.embedded.batches import tensors
from predictor.embedded.corpora import read_split
from predictor.embedded.encoder import EncoderMissing
from predictor.embedded.evaluate import table
from predictor.embedded.export import export
from predictor.embedded.mixture import Mixture
from predictor.embedded.sentences import Writer

SEED = 20260
STEPS = 2_200
PIECES = 1_400
"""Padded pieces in a batch, prompts included."""
ENCODER_RATE = 2.5e-4
HEAD_RATE = 1e-3
WARM_UP = 0.06
DECAY = 0.01
POSITIVE = 1.5
"""Weight of a mention against a span that is none: brings the best F1 near threshold 0.5."""
AVERAGED = 0.25
"""Share of the steps, at the end, whose weights are averaged into what is kept."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the corpora, build the small model, train it, write it, score it."""
    options = parse(arguments)
    try:
        corpora = read_split(options.data, "train")
        make_repeatable(options.seed, options.threads)
        model = build(corpora, options.seed)
        mixture = Mixture(corpora, options.seed, options.pieces)
        for step in train(model, mixture, options.steps):
            if options.keep and step % options.keep == 0:
                export(model, options.out.with_name(f"{options.out.name}-{step}"))
        export(model, options.out)
    except (DataError, EncoderMissing) as error:
        raise SystemExit(f"train: {error}") from error
    dev = sorted(options.data.glob("*.dev.jsonl"))
    print(table(GLiNER.from_pretrained(str(options.out), local_files_only=True), dev), flush=True)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m predictor.embedded.train")
    parser.add_argument("data", type=pathlib.Path, help="folder of *.train.jsonl and *.dev.jsonl")
    parser.add_argument("out", type=pathlib.Path, help="folder to write the model to")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--pieces", type=int, default=PIECES, help="padded pieces in a batch")
    parser.add_argument("--threads", type=int, default=1, help="another count rounds otherwise")
    parser.add_argument("--keep", type=int, default=0, help="write OUT-STEP each so many steps")
    return parser.parse_args(arguments)


def make_repeatable(seed: int, threads: int) -> None:
    """Let the seed alone decide every bit that follows, on one kind of machine."""
    random.seed(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads)
    # Adam's averages of rarely met pieces fade into denormals, which processors are slow at.
    torch.set_flush_denormal(True)


def build(corpora: dict[str, list[Row]], seed: int) -> UniEncoderSpanGLiNER:
    """The untrained model, its vocabulary chosen by the training rows and our own sentences."""
    whole = vocabulary.load(encoder.folder())
    texts = [resplit(row).words for rows in corpora.values() for row in rows]
    texts += [row.words for row in Writer(random.Random(seed)).write(20_000)]
    pieces = vocabulary.choose(whole, texts, vocabulary.PIECES)
    return encoder.build(whole, vocabulary.cut(whole, pieces, encoder.POSITIONS))


def train(model: UniEncoderSpanGLiNER, mixture: Mixture, steps: int) -> Iterator[int]:
    """Train in place, giving the number of each step done.

    At the end the model holds the average of its last weights.
    """
    network = model.model.train()
    optimizer = _optimizer(network)
    rates = [group["lr"] for group in optimizer.param_groups]
    averaged = torch.optim.swa_utils.AveragedModel(network)
    batches, began, recent = mixture.batches(), time.monotonic(), 0.0
    for step in range(1, steps + 1):
        factor = _schedule(step / steps)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        loss = _loss(network, tensors(model, next(batches)))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if step > steps * (1 - AVERAGED) and step % 10 == 0:
            averaged.update_parameters(network)
        recent += loss.item()
        if step % 50 == 0:
            spent = time.monotonic() - began
            left = spent / step * (steps - step) / 60
            print(f"step {step}/{steps} loss {recent / 50:.3f} {left:.1f} min left", flush=True)
            recent = 0.0
        yield step
    if int(averaged.n_averaged):
        network.load_state_dict(averaged.module.state_dict())
    network.eval()


def _loss(network: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Binary cross-entropy over every span and label, summed, for each word of the batch."""
    labels = inputs.pop("labels")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(**inputs)
    logits, asked = output.logits.float(), output.prompts_embedding_mask
    losses = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, labels, reduction="none", pos_weight=torch.tensor(POSITIVE)
    )
    valid = inputs["span_mask"].view(*labels.shape[:3], 1) * asked[:, None, None, :].float()
    loss: torch.Tensor = (losses * valid).sum() / inputs["text_lengths"].sum()
    return loss


def _optimizer(network: torch.nn.Module) -> torch.optim.AdamW:
    """A gentle rate for the encoder, a quick one for the fresh head, no decay of vectors."""
    groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        groups.setdefault(("bert_layer" in name, parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": ENCODER_RATE if encoded else HEAD_RATE,
                "weight_decay": DECAY if matrix else 0.0,
            }
            for (encoded, matrix), parameters in sorted(groups.items(), key=lambda item: item[0])
        ],
        betas=(0.9, 0.98),
        fused=True,
    )


def _schedule(progress: float) -> float:
    """Linear warm-up, then linear decay to a twentieth."""
    if progress < WARM_UP:
        return progress / WARM_UP
    return max(0.05, (1 - progress) / (1 - WARM_UP))


if __name__ == "__main__":
    main()
