"""Analyses of finished studies: comparison, cutting a network, its blocks, ranking of networks, samples to check."""
