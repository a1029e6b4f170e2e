"""Background runs of `python -m core`: requested, planned, started, queued and shown."""
