"""The page Compare: SI versus layer properties, and two studies."""
