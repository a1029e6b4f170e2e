"""Arrays in, numbers out: exact neighbors and the measures built on them. Knows no network and no files."""
