"""One folder a page: `view.py` renders it, its tables and charts lie beside it."""
