"""Entry point of the explorer: `streamlit run explorer/app.py [-- --study PATH]`.

Streamlit uses this file in two ways: the server imports it and serves `app`, and for each session it runs the file as a
script, which draws a page. A host that only runs scripts (Community Cloud) uses the second way alone.
"""

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[1])
if ROOT not in sys.path:  # `streamlit run` puts only this file's folder on the path
    sys.path.insert(0, ROOT)

import streamlit as st  # noqa: E402

from explorer.controls.page_style import show_style  # noqa: E402
from explorer.controls.study_picker import OPENED  # noqa: E402
from explorer.preparing import PREPARER  # noqa: E402
from explorer.runs.uploads.uploaders import release_uploads  # noqa: E402
from explorer.server.browser_history import one_step_a_change  # noqa: E402
from explorer.server.page_errors import guarded  # noqa: E402
from explorer.state.address import current_study, follow_browser  # noqa: E402

NEW_STUDY = "new-study"
ICON = str(Path(__file__).with_name("icon.svg"))


def show_page() -> None:
    """Draw the navigation and the page that the address names."""
    st.set_option("client.showErrorDetails", "none")  # tracebacks go to the server's log, never to the page
    st.set_page_config(page_title="Separation Index Explorer", page_icon=ICON, layout="wide")
    st.logo(ICON, size="large")
    show_style()
    pages = [
        st.Page("app_pages/layers/view.py", title="Layers", icon=":material/stacked_line_chart:", default=True),
        st.Page("app_pages/compare/view.py", title="Compare", icon=":material/compare_arrows:", url_path="compare"),
        st.Page("app_pages/training/view.py", title="Training", icon=":material/model_training:", url_path="training"),
        st.Page("app_pages/classes/view.py", title="Classes", icon=":material/grid_on:", url_path="classes"),
        st.Page("app_pages/samples/view.py", title="Samples", icon=":material/photo_library:", url_path="samples"),
        st.Page("app_pages/sample_size/view.py", title="Sample size", icon=":material/groups:", url_path="sample-size"),
        st.Page("app_pages/decide/view.py", title="Decide", icon=":material/content_cut:", url_path="decide"),
        st.Page("app_pages/new_study/view.py", title="New study", icon=":material/add_chart:", url_path=NEW_STUDY),
        st.Page("app_pages/method/view.py", title="Method", icon=":material/menu_book:", url_path="method"),
    ]
    page = st.navigation(pages, position="top")
    follow_browser(page.url_path)
    if page.url_path != NEW_STUDY:
        release_uploads()
    with PREPARER.held():
        page.run()
    study = current_study()
    st.set_page_config(page_title=f"{page.title} · {Path(study).name}" if study else page.title)
    one_step_a_change()
    if OPENED in st.session_state:
        PREPARER.prepare(*st.session_state[OPENED])


if __name__ == "__main__":
    guarded(show_page)()
else:
    from starlette.middleware import Middleware

    from explorer.runs.uploads.middleware import UploadMiddleware
    from explorer.server.session_limit import SessionLimit
    from explorer.serving import max_file_bytes, max_sessions, serving

    middleware = [Middleware(SessionLimit, max_sessions), Middleware(UploadMiddleware, max_file_bytes)]
    app = st.App(Path(__file__), lifespan=serving, middleware=middleware)
