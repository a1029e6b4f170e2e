"""The pages: one folder each, with `view.py`, which draws the page, and its tables and charts."""
