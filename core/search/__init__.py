"""Exact nearest neighbors: shortlists, bounds on rounded products, devices, slices and tiles."""
