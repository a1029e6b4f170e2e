"""Which classes a network separates."""
