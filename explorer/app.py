"""The explorer: `streamlit run explorer/app.py [-- --study PATH]`."""

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[1])
if ROOT not in sys.path:  # `streamlit run` puts only this file's folder on the path
    sys.path.insert(0, ROOT)

import streamlit as st  # noqa: E402

from explorer.public import is_public  # noqa: E402
from explorer.training import shows_training  # noqa: E402

if is_public():
    st.set_option("client.showErrorDetails", "none")  # what goes wrong within is for the server's log only
ICON = str(Path(__file__).with_name("icon.svg"))
st.set_page_config(page_title="Separation Index Explorer", page_icon=ICON, layout="wide")
st.logo(ICON, size="large")
pages = [
    st.Page("views/layers.py", title="Layers", icon=":material/stacked_line_chart:", default=True),
    st.Page("views/compare.py", title="Compare", icon=":material/compare_arrows:", url_path="compare"),
    st.Page("views/classes.py", title="Classes", icon=":material/grid_on:", url_path="classes"),
    st.Page("views/samples.py", title="Samples", icon=":material/photo_library:", url_path="samples"),
    st.Page("views/sample_size.py", title="Sample size", icon=":material/groups:", url_path="sample-size"),
    st.Page("views/new_study.py", title="New study", icon=":material/add_chart:", url_path="new-study"),
    st.Page("views/method.py", title="Method", icon=":material/menu_book:", url_path="method"),
]
if shows_training():
    pages.insert(
        2, st.Page("views/training.py", title="Training", icon=":material/model_training:", url_path="training")
    )
st.navigation(pages, position="top").run()
