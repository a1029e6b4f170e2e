"""Conclusions in words: one wording for the command line, the pages and the report."""
