"""Smaller networks: the layer to cut at, blocks that can be removed, and what either saves and costs."""
