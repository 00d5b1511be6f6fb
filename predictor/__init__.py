"""GLiNER behind KServe: zero-shot named entity recognition over V1, V2 and gRPC."""

__version__ = "0.1.0"
