"""A model of `gliner_medium-v2.1`'s shape with random weights, for speed: nobody needs its answers.

`python -m benchmarks.medium FOLDER` writes it. Its size and its work are those of the real one;
its tokenizer knows the made-up words of `texts`, so nothing has to be downloaded. The last layers
are set so that few spans are above the threshold, as in a real text: what a server does for each
entity must cost what it costs in earnest.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from gliner import GLiNER, GLiNERConfig
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import DebertaV2Config, PreTrainedTokenizerFast

from benchmarks import texts
from benchmarks.texts import Question

VERSION = 1
"""Part of the cached folder's name: to be raised with every change to what is written."""
FACTS = "bench.json"
"""What was measured of the model: see `_facts`."""
ENCODER: dict[str, Any] = {
    "vocab_size": 128_100,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "relative_attention": True,
    "position_biased_input": False,
    "position_buckets": 256,
    "max_position_embeddings": 512,
    "max_relative_positions": -1,
    "pos_att_type": ["p2c", "c2p"],
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "type_vocab_size": 0,
    "layer_norm_eps": 1e-7,
    "pad_token_id": 0,
}
HEAD: dict[str, Any] = {
    "hidden_size": 512,
    "max_len": 384,
    "max_width": 12,
    "dropout": 0.4,
    "span_mode": "markerV0",
    "words_splitter_type": "whitespace",
}
_ABOVE = 40
"""Scores above the threshold in a sentence, on average; they overlap, an entity or two remain."""
_SPREAD = 2.0
"""Standard deviation of the scores' logits."""
_SAMPLE, _MANY = 24, 1000


def write(
    folder: Path, encoder: dict[str, Any] | None = None, head: dict[str, Any] | None = None
) -> None:
    """Write the checkpoint.

    Args:
        folder: where to.
        encoder: fields of the encoder's config that are to be otherwise.
        head: fields of GLiNER's config that are to be otherwise.
    """
    model = build({**ENCODER, **(encoder or {})}, {**HEAD, **(head or {})})
    sample = texts.sentences(_SAMPLE, seed=1)
    _settle(model, sample)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(str(folder), safe_serialization=True)
    (folder / FACTS).write_text(json.dumps(_facts(model, sample)) + "\n", encoding="utf-8")


def build(encoder: dict[str, Any], head: dict[str, Any]) -> Any:
    """The model with random weights, as GLiNER and transformers initialise them."""
    torch.manual_seed(7)
    config = GLiNERConfig(
        model_name="benchmarks/medium",
        encoder_config=DebertaV2Config(**encoder).to_dict(),
        **head,
    )
    tokens = _tokenizer()
    tokens.add_tokens([config.ent_token, config.sep_token], special_tokens=True)
    config.encoder_config.vocab_size = config.vocab_size = max(encoder["vocab_size"], len(tokens))
    config.class_token_index = tokens.convert_tokens_to_ids(config.ent_token)
    kind = GLiNER._get_gliner_class(config)
    return kind(config, tokenizer=tokens, backbone_from_pretrained=False).eval()


def _tokenizer() -> PreTrainedTokenizerFast:
    """WordPiece over labels, syllables and letters. Special tokens have DeBERTa's own numbers,
    which some of the peers take for granted."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    pieces = dict.fromkeys(
        [
            *("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"),
            *texts.LABELS,
            *texts.SYLLABLES,
            *(f"##{one}" for one in texts.SYLLABLES),
            *letters,
            *(f"##{one}" for one in letters),
            *".,;:!?-'\"()@",
        ]
    )
    core = Tokenizer(
        models.WordPiece({piece: index for index, piece in enumerate(pieces)}, unk_token="[UNK]")
    )
    core.normalizer = normalizers.BertNormalizer()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        model_max_length=10**30,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        mask_token="[MASK]",
    )


def _settle(model: Any, sample: list[Question]) -> None:
    """Scale and shift the logits, within the model's own layers.

    The last dimension of spans and prompts is made a constant of each: their product shifts
    every logit alike.
    """
    spans, prompts = (
        model.model.span_rep_layer.span_rep_layer.out_project[-1],
        (model.model.prompt_rep_layer[-1]),
    )
    with torch.no_grad():
        for layer in (spans, prompts):
            layer.weight[-1] = 0
            layer.bias[-1] = 0
        logits = torch.cat([one.flatten() for one in _logits(model, sample)])
        scale = _SPREAD / logits.std()
        spans.weight *= scale
        spans.bias *= scale
        wanted = 1 - _ABOVE * len(sample) / len(logits)
        shift = scale * torch.quantile(logits.double(), wanted).float()
        spans.bias[-1] = shift.abs().sqrt()
        prompts.bias[-1] = -shift / shift.abs().sqrt()


def _logits(model: Any, sample: list[Question]) -> list[torch.Tensor]:
    """Of the spans within each text, all labels."""
    found = []
    with torch.no_grad():
        for one in sample:
            words = [word for word, _, _ in model.data_processor.words_splitter(one.text)]
            batch = model.collate_batch(
                [{"tokenized_text": words, "ner": None}],
                [list(one.labels)],
                model.create_collator(),
            )
            scores = model.run_batch(batch, threshold=0.0)[0][0].float()
            starts, widths = torch.meshgrid(
                torch.arange(scores.shape[0]), torch.arange(scores.shape[1]), indexing="ij"
            )
            found.append(scores[starts + widths < len(words)])
    return found


def _facts(model: Any, sample: list[Question]) -> dict[str, float]:
    """Averages over sentences: words, subwords with labels, and entities that are found."""
    tokens = model.data_processor.transformer_tokenizer
    many = texts.sentences(_MANY, seed=2)
    prompt = 2 * len(texts.LABELS) + 1
    found = model.inference([one.text for one in sample], list(texts.LABELS), threshold=0.5)
    return {
        "words": sum(len(one.text.split()) for one in many) / _MANY,
        "subwords": sum(len(tokens(one.text).input_ids) for one in many) / _MANY + prompt,
        "entities": sum(map(len, found)) / len(sample),
    }


if __name__ == "__main__":
    write(Path(sys.argv[1]))
