"""The page Method: definitions and explanations."""
