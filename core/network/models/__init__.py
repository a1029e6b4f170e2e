"""Networks that can be had: their registry, builders, weights and downloads."""
