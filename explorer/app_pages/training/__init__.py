"""The page Training: SI during the training of a network."""
