"""Puts data, network and measures together: what will be computed, the run, and the tables on disk."""
