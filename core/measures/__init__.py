"""Arrays in, numbers out: the separation measures, their significance, baselines. Knows no network and no files."""
