"""A layer's activations become its rows in the study's tables."""
