"""Studies of PyTorch networks, whose activations are collected while a loader runs through them once."""
