"""GLiNER's forward pass without the work that changes nothing.

The same numbers as GLiNER's own, up to rounding, from the same weights:

- DeBERTa projects its table of relative positions in every layer of every pass; the projected
  tables are made once. Only the distances that a text has are scored, and put in place by a
  shift of memory where the original gathers.
- Queries, keys and values are one product, of weights that hold the scale already.
- The last layer is computed only for the positions that words and prompts are read from.
- The first linear layer over a span's start and end falls into a part for each, which spans
  share; the last one, and the product with a prompt, are one matrix for each prompt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from predictor.engines.reading import Distances, Layout

if TYPE_CHECKING:
    from gliner import GLiNER

POOLINGS = ("first", "last", "mean")
_ENCODERS = ("DebertaV2Model", "BertModel")


def obstacle(model: GLiNER) -> str:
    """Why a model cannot be rewritten; empty when it can.

    Served all the same is what has an obstacle: as GLiNER comes.
    """
    config: Any = model.config
    encoder = _encoder(model)
    found = {
        f"span_mode {config.span_mode}": config.span_mode != "markerV0",
        f"{type(encoder).__name__} as encoder": type(encoder).__name__ not in _ENCODERS,
        "fuse_layers": bool(config.fuse_layers),
        "post_fusion_schema": bool(config.post_fusion_schema),
        "precomputed prompts": bool(getattr(config, "precomputed_prompts_mode", False)),
        "a span encoder": bool(getattr(config, "span_encoder_config", None)),
        f"{config.num_rnn_layers} LSTM layers": config.num_rnn_layers > 1,
        f"{config.subtoken_pooling} pooling": config.subtoken_pooling not in POOLINGS,
        "a slow tokenizer": not model.data_processor.transformer_tokenizer.is_fast,
    }
    if not any(found.values()):
        encoded: Any = getattr(encoder, "config", None)
        found |= {
            "a convolution": bool(getattr(encoded, "conv_kernel_size", 0)),
            "an encoder that decodes": bool(getattr(encoded, "is_decoder", False)),
            "absolute positions in DeBERTa": type(encoder).__name__ == "DebertaV2Model"
            and not getattr(encoded, "relative_attention", False),
        }
    return ", ".join(name for name, is_so in found.items() if is_so)


def layout(model: GLiNER) -> Layout:
    """How input for a rewritten model is laid out."""
    config: Any = model.config
    encoder = _encoder(model)
    distances = None
    if type(encoder).__name__ == "DebertaV2Model":
        attention = encoder.encoder.layer[0].attention.self
        distances = Distances(
            span=attention.pos_ebd_size,
            buckets=attention.position_buckets,
            furthest=attention.max_relative_positions,
        )
    return Layout(
        entity=str(config.ent_token),
        separator=str(config.sep_token),
        marked=bool(config.embed_ent_token),
        pooling=str(config.subtoken_pooling),
        distances=distances,
    )


def _encoder(model: GLiNER) -> Any:
    inner: Any = model.model
    return getattr(getattr(inner.token_rep_layer, "bert_layer", None), "model", None)


class Positions(nn.Module):
    """DeBERTa's relative positions as one layer's queries and keys meet them.

    Holds the projected tables: `key` for what a query looks for at a distance, `query` for
    what a key is looked for from; each of shape (heads, distances, width of a head). Attention
    scales queries, so `query` is scaled here.
    """

    key: Tensor | None
    query: Tensor | None

    def __init__(self, attention: Any, table: Tensor, heads: int) -> None:
        super().__init__()
        shared = attention.share_att_key
        kinds = attention.pos_att_type
        key: Any = attention.key_proj if shared else getattr(attention, "pos_key_proj", None)
        query: Any = attention.query_proj if shared else getattr(attention, "pos_query_proj", None)

        def projected(layer: Any) -> Any:
            return layer(table).view(table.shape[0], heads, -1).transpose(0, 1).contiguous()

        terms = 1 + len({"c2p", "p2c"}.intersection(kinds))
        self.scale = 1 / math.sqrt(attention.query_proj.out_features // heads * terms)
        self.register_buffer("key", projected(key) if "c2p" in kinds else None)
        self.register_buffer("query", projected(query) * self.scale if "p2c" in kinds else None)

    def forward(self, queries: Tensor, keys: Tensor, rows: Tensor) -> Tensor | float:
        """What positions add to attention, of shape (texts, heads, L, L).

        Args:
            queries: scaled, of shape (texts, heads, L, width of a head).
            keys: of the same shape.
            rows: for distances L-1 to -(L-1), their rows in the tables.
        """
        score: Tensor | float = 0.0
        if self.key is not None:
            score = score + _shifted(queries @ self.key[:, rows].transpose(-1, -2))
        if self.query is not None:
            back = self.query[:, rows.flip(0)].transpose(-1, -2)
            score = score + _shifted(keys @ back).transpose(-1, -2)
        return score


def _shifted(scores: Tensor) -> Tensor:
    """Row i of (…, L, 2L-1), read from column L-1-i on: of shape (…, L, L).

    In memory that is one row of 2L-2 behind the other from element L-1 on.
    """
    texts, heads, length, width = scores.shape
    flat = scores.reshape(texts, heads, length * width)
    rows = flat[:, :, length - 1 : length - 1 + length * (width - 1)]
    return rows.reshape(texts, heads, length, width - 1)[..., :length]


class Block(nn.Module):
    """One layer of BERT or DeBERTa; they differ in names and in positions."""

    def __init__(self, layer: Any, heads: int, table: Tensor | None) -> None:
        super().__init__()
        attention = layer.attention.self
        names = ("query", "key", "value")
        parts = [getattr(attention, f"{one}_proj" if table is not None else one) for one in names]
        self.positions = None if table is None else Positions(attention, table, heads)
        self.out, self.out_norm = layer.attention.output.dense, layer.attention.output.LayerNorm
        self.wide, self.narrow = layer.intermediate.dense, layer.output.dense
        self.activation, self.norm = layer.intermediate.intermediate_act_fn, layer.output.LayerNorm
        self.heads = heads
        scale = 1 / math.sqrt(parts[0].out_features // heads)
        self.mixed = _joined(parts, scale if self.positions is None else self.positions.scale)

    def forward(
        self,
        states: Tensor,
        places: Tensor,
        back: Tensor,
        bias: Tensor,
        rows: Tensor,
        kept: Tensor | None,
    ) -> Tensor:
        """States of shape (total, width) of the layer; of kept subwords only, where given."""
        texts, length = places.shape
        mixed = self.mixed(states)[places].view(texts, length, 3, self.heads, -1)
        queries, keys, values = mixed.permute(2, 0, 3, 1, 4).unbind()
        added = bias
        if self.positions is not None:
            added = added + self.positions(queries, keys, rows)
        seen = functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=added, scale=1.0
        )
        seen = seen.transpose(1, 2).reshape(-1, states.shape[-1])
        if kept is not None:
            back, states = back[kept], states[kept]
        states = self.out_norm(self.out(seen[back]) + states)
        wide: Tensor = self.activation(self.wide(states))
        normal: Tensor = self.norm(self.narrow(wide) + states)
        return normal


def _joined(parts: Sequence[nn.Linear], scale: float) -> nn.Linear:
    """Linear layers of the same input as one, the first with its output scaled."""
    scales = (scale, *(1.0 for _ in parts[1:]))
    weight = parts[0].weight
    joined: nn.Linear = nn.utils.skip_init(  # its random numbers would take a second
        nn.Linear,
        parts[0].in_features,
        sum(one.out_features for one in parts),
        device=weight.device,
        dtype=weight.dtype,
    )
    joined.load_state_dict(
        {
            name: torch.cat(
                [getattr(one, name) * by for one, by in zip(parts, scales, strict=True)]
            )
            for name in ("weight", "bias")
        }
    )
    return joined


class Memory(nn.Module):
    """GLiNER's LSTM over words, both ways, for rows of different lengths without packing."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.ahead, self.back = (
            nn.LSTM(lstm.input_size, lstm.hidden_size, batch_first=True) for _ in range(2)
        )
        weights = lstm.state_dict()
        for part, suffix in ((self.ahead, ""), (self.back, "_reverse")):
            own = {name: weights[f"{name}{suffix}"] for name in part.state_dict()}
            part.load_state_dict(own)

    def forward(self, words: Tensor, reverse: Tensor) -> Tensor:
        places = reverse.unsqueeze(-1)
        turned = words.gather(1, places.expand(-1, -1, words.shape[-1]))
        back = self.back(turned)[0]
        back = back.gather(1, places.expand(-1, -1, back.shape[-1]))
        return torch.cat([self.ahead(words)[0], back], dim=-1)


class Spans(nn.Module):
    """Scores of all spans for all prompts, from words and prompts."""

    def __init__(self, marker: Any, prompts: nn.Module) -> None:
        super().__init__()
        self.start, self.end, self.prompts = marker.project_start, marker.project_end, prompts
        first: nn.Linear = marker.out_project[0]
        self.last: nn.Linear = marker.out_project[-1]
        width = first.in_features // 2
        self.from_start = nn.Linear(width, first.out_features)
        self.from_end = nn.Linear(width, first.out_features, bias=False)
        self.from_start.load_state_dict({"weight": first.weight[:, :width], "bias": first.bias})
        self.from_end.load_state_dict({"weight": first.weight[:, width:]})
        self.width: int = marker.max_width

    def forward(self, words: Tensor, prompts: Tensor) -> Tensor:
        """Logits of shape (texts, words, widths, prompts)."""
        start = self.from_start(functional.relu(self.start(words)))
        end = self.from_end(functional.relu(self.end(words)))
        asked = self.prompts(prompts)
        weights = (asked @ self.last.weight).transpose(1, 2)
        count = words.shape[1]
        end = functional.pad(end, (0, 0, 0, self.width - 1))
        scores = [
            functional.relu(start + end[:, reach : reach + count]) @ weights
            for reach in range(self.width)
        ]
        shift: Tensor = (asked @ self.last.bias)[:, None, None, :]
        return torch.stack(scores, dim=2) + shift


class Rewritten(nn.Module):
    """A GLiNER model that scores spans, with one encoder; shares its weights.

    Args:
        model: one without an `obstacle`, whose weights do not change any more.
    """

    @torch.no_grad()
    def __init__(self, model: GLiNER) -> None:
        super().__init__()
        inner: Any = model.model
        encoder = _encoder(model)
        relative = type(encoder).__name__ == "DebertaV2Model"
        table = encoder.encoder.get_rel_embedding() if relative else None
        self.embeddings = encoder.embeddings
        self.blocks = nn.ModuleList(
            Block(layer, encoder.config.num_attention_heads, self._seen(encoder, table))
            for layer in encoder.encoder.layer
        )
        self.projection = getattr(inner.token_rep_layer, "projection", nn.Identity())
        self.memory = Memory(inner.rnn.lstm) if hasattr(inner, "rnn") else None
        self.spans = Spans(inner.span_rep_layer.span_rep_layer, inner.prompt_rep_layer)
        self.pools = model.config.subtoken_pooling == "mean"
        first = next(encoder.parameters())
        self.to(device=first.device, dtype=first.dtype).eval()

    @staticmethod
    def _seen(encoder: Any, table: Tensor | None) -> Tensor | None:
        """The rows of the table that attention looks at."""
        if table is None:
            return None
        return table[: 2 * encoder.encoder.layer[0].attention.self.pos_ebd_size]

    def forward(
        self,
        ids: Tensor,
        offsets: Tensor,
        places: Tensor,
        back: Tensor,
        bias: Tensor,
        rows: Tensor,
        kept: Tensor,
        prompts: Tensor,
        subwords: Tensor,
        pool: Tensor,
        reverse: Tensor,
    ) -> Tensor:
        """Logits of shape (rows, words, widths, prompts); see `reading.Batch`."""
        states = self.embeddings(ids[None], position_ids=offsets[None])[0]
        bias = bias.to(states.dtype)
        for number, block in enumerate(self.blocks, 1):
            last = number == len(self.blocks)
            states = block(states, places, back, bias, rows, kept if last else None)
        states = self.projection(states)
        asked, words = states[prompts], states[subwords]
        if self.pools:
            words = pool.to(words.dtype) @ words
        if self.memory is not None:
            words = self.memory(words, reverse)
        logits: Tensor = self.spans(words, asked)
        return logits


class Probabilities(nn.Module):
    """A rewritten model that ends in probabilities, for converters: its weights are constants."""

    def __init__(self, model: Rewritten) -> None:
        super().__init__()
        self.model = model.requires_grad_(False)

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.sigmoid(self.model(*inputs))
