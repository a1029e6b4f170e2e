"""The Streamlit app: choose layers and samples, and compare how well they separate classes with what they cost."""
