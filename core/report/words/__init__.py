"""Conclusions in words: the same sentences for the command line, the pages and the report."""
