"""How graphs are started, on this machine and on Kubeflow, and what became of them."""
