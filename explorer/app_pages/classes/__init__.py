"""The page Classes: how well each class is separated."""
