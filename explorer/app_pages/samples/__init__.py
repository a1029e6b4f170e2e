"""The page Samples: the samples behind a number."""
