"""Background runs of `python -m core`: asked for, planned, started, queued, shown."""
