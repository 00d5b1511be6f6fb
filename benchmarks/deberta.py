"""A small DeBERTa GLiNER that is right about something, to see what engines do to its accuracy.

`python -m benchmarks.deberta DATA_DIR OUT` trains it as the embedded model is trained; that one
is a BERT, and `gliner_medium` is not. It starts from the same small encoder: DeBERTa's layers
have BERT's shapes, only positions are another thing, and these it learns anew. Nothing of it is
shipped, and its score is no aim.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gliner.model import UniEncoderSpanGLiNER
from transformers import DebertaV2Config

from pipeline.errors import DataError
from predictor.embedded import encoder, train
from predictor.embedded.corpora import read_split
from predictor.embedded.encoder import EncoderMissing
from predictor.embedded.export import export
from predictor.embedded.mixture import Mixture

STEPS = 900
_BUCKETS = 64
"""For distances in one direction; fewer than the medium's 256, as the model is smaller."""
_NAMES = {
    "self.query.": "self.query_proj.",
    "self.key.": "self.key_proj.",
    "self.value.": "self.value_proj.",
}
"""What BERT's layers call otherwise."""
_POSITIONS: dict[str, Any] = {
    "attention_probs_dropout_prob": 0.0,
    "relative_attention": True,
    "position_biased_input": False,
    "position_buckets": _BUCKETS,
    "max_position_embeddings": encoder.POSITIONS,
    "max_relative_positions": -1,
    "pos_att_type": ["p2c", "c2p"],
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "type_vocab_size": 0,
}
_ANEW = ("rel_embeddings.weight", "encoder.LayerNorm.weight", "encoder.LayerNorm.bias")
"""The table of positions and its norm."""
_SAME = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "pad_token_id",
    "layer_norm_eps",
    "hidden_dropout_prob",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the corpora, build the model, train it, write it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deberta")
    parser.add_argument("data", type=Path, help="folder of *.train.jsonl")
    parser.add_argument("out", type=Path, help="folder to write the model to")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    try:
        corpora = read_split(options.data, "train")
        train.make_repeatable(train.SEED, options.threads)
        model = build(train.build(corpora, train.SEED))
    except (DataError, EncoderMissing) as error:
        raise SystemExit(f"deberta: {error}") from error
    for _ in train.train(model, Mixture(corpora, train.SEED, train.PIECES), options.steps):
        pass
    export(model, options.out)


def build(bert: UniEncoderSpanGLiNER) -> UniEncoderSpanGLiNER:
    """The same GLiNER on a DeBERTa encoder that starts from the BERT's weights."""
    config = copy.deepcopy(bert.config)
    config.encoder_config = _config(config.encoder_config)
    tokenizer = bert.data_processor.transformer_tokenizer
    model = UniEncoderSpanGLiNER(config, tokenizer=tokenizer, backbone_from_pretrained=False)
    weights = {_renamed(name): value for name, value in bert.model.state_dict().items()}
    found = model.model.load_state_dict(weights, strict=False)
    # All but positions comes from the BERT, or the names above are wrong.
    missing = [one for one in found.missing_keys if not one.endswith(_ANEW)]
    if missing:
        raise RuntimeError(f"no weights for {', '.join(missing)}")
    return model


def _config(bert: Any) -> DebertaV2Config:
    fields: dict[str, Any] = {name: getattr(bert, name) for name in _SAME}
    return DebertaV2Config(**fields, **_POSITIONS)


def _renamed(name: str) -> str:
    for bert, deberta in _NAMES.items():
        name = name.replace(bert, deberta)
    return name


if __name__ == "__main__":
    main()
