"""The steps of the graph: ordinary functions, one file a step, tested without a cluster."""
