"""One folder a page: `view.py` renders it, its tables and charts lie beside it.

Not called `pages`, for Streamlit would take such a folder beside app.py for its older kind of multipage app.
"""
