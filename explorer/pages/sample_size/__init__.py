"""SI over sample size."""
