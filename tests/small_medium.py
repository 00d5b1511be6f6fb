"""The medium shape, so small that tests can make it."""

from __future__ import annotations

SMALL = {
    "vocab_size": 1000,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 128,
    "position_buckets": 32,
}
"""What of the encoder is otherwise."""
