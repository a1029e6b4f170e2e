"""The samples behind a number."""
