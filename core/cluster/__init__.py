"""The same study on a Dask cluster: shards, tiles and what they cost. Only what connects needs the extra `cluster`."""
