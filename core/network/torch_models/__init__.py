"""PyTorch networks: their modules, what each of them returns, and activations by forward hooks."""
