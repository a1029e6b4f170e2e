"""Fine-tuning a network, and SI of its layers meanwhile."""
