"""How a model is read, what its scores are worth, and how people are shown both."""
