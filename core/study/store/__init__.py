"""A study on disk: the declared tables, reading, checking, writing, locks."""
