"""The page Decide: where to cut a network, and which network to use."""
