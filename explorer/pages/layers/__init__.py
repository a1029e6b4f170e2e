"""The first page: a measure through the network."""
