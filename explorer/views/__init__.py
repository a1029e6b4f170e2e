"""One file a page; each ends by rendering itself, because Streamlit runs a page as a script."""
