"""Questions that finished studies answer: compare, cut, blocks, rank, samples to check."""
