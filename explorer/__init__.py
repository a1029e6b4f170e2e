"""The Streamlit app: people pick layers and samples and compare separation with what the layers cost."""
