"""The page Layers: a measure through the network."""
