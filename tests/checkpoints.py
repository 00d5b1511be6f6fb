"""Small GLiNER checkpoints with random weights, for everything that needs no true answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from gliner import GLiNER, GLiNERConfig
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    DebertaV2Config,
    ModernBertConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
)

_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_ENCODERS: dict[str, tuple[type[PretrainedConfig], dict[str, Any]]] = {
    "bert": (BertConfig, {"max_position_embeddings": 512}),
    "deberta": (
        DebertaV2Config,
        {
            "relative_attention": True,
            "position_biased_input": False,
            "position_buckets": 32,
            "max_position_embeddings": 512,
            "pos_att_type": ["p2c", "c2p"],
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
        },
    ),
    "modernbert": (
        ModernBertConfig,
        {
            "max_position_embeddings": 512,
            "local_attention": 16,
            "global_attn_every_n_layers": 2,
            "pad_token_id": 0,
            "bos_token_id": 2,
            "cls_token_id": 2,
            "eos_token_id": 3,
            "sep_token_id": 3,
        },
    ),
    "roberta": (RobertaConfig, {"max_position_embeddings": 514, "pad_token_id": 1}),
}
_WORDS = ("ada", "london", "person", "location", "date", "in", "was", "born", "the")


def tokenizer(max_length: int) -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer that, like BERT's, drops control characters altogether."""
    pieces = [*_SPECIALS, *_WORDS, *_LETTERS, *(f"##{one}" for one in _LETTERS), *".,;:!?-'\"()@"]
    core = Tokenizer(
        models.WordPiece({piece: index for index, piece in enumerate(pieces)}, unk_token="[UNK]")
    )
    core.normalizer = normalizers.BertNormalizer()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        model_max_length=max_length,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def write(
    folder: Path, kind: str = "bert", encoder: Mapping[str, Any] | None = None, **changes: Any
) -> Path:
    """Write a loadable checkpoint.

    Args:
        folder: where to.
        kind: one of `_ENCODERS`: with 512 positions, except for `deberta`'s relative ones.
        encoder: fields of the encoder's config to set otherwise.
        changes: fields of the GLiNER config to set otherwise.
    """
    common: dict[str, Any] = {
        "vocab_size": 128,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    config_of, own = _ENCODERS[kind]
    encoded = config_of(**{**common, **own, **(encoder or {})})
    torch.manual_seed(7)
    config = GLiNERConfig(
        model_name="tests/none",
        encoder_config=encoded.to_dict(),
        **{
            "hidden_size": 32,
            "max_len": 64,
            "max_width": 6,
            "dropout": 0.0,
            "span_mode": "markerV0",
            "words_splitter_type": "whitespace",
            **changes,
        },
    )
    tokens = tokenizer(10**30 if kind == "deberta" else 512)
    specials = [config.ent_token, config.sep_token]
    tokens.add_tokens(specials, special_tokens=True)
    config.vocab_size = config.encoder_config.vocab_size = len(tokens)
    config.class_token_index = tokens.convert_tokens_to_ids(config.ent_token)
    model = _build(config, tokens)
    # Random weights score everything near one half; spread the scores out.
    with torch.no_grad():
        for name, value in model.model.named_parameters():
            if name.endswith("weight") and value.dim() == 2:
                value.mul_(1.6)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(str(folder), safe_serialization=True)
    return folder


def _build(config: GLiNERConfig, tokens: PreTrainedTokenizerFast) -> Any:
    kind = GLiNER._get_gliner_class(config)
    model = kind(config, tokenizer=tokens, backbone_from_pretrained=False)
    return model.eval()
