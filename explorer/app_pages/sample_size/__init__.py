"""The page Sample size: SI over the number of samples."""
