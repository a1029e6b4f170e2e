"""Saving what is seen: a chart as PNG or SVG, as it is drawn; a table as CSV or Parquet; the study's configuration."""

import io
import json
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

NO_REPORT = "The charts of a report need a package that is missing here: pip install vl-convert-python."

_HTML = '<button type="button"></button>'
_CSS = """
button {
  font-family: var(--st-font); font-size: 0.875rem; color: var(--st-text-color);
  background: transparent; cursor: pointer;
  border: 1px solid var(--st-border-color); border-radius: var(--st-button-radius);
  box-sizing: border-box; height: 2.5rem; padding: 0 0.75rem; vertical-align: top; width: 100%; white-space: nowrap;
}
button:hover, button:focus-visible { color: var(--st-primary-color); border-color: var(--st-primary-color); }
"""
_JS = """
const SCALE = 2;  // pixels of the PNG for one of the screen

function drawnSvg(container) {
  const drawn = document.querySelector(`.st-key-${container} .stVegaLiteChart svg.marks`);
  if (!drawn) return null;
  const svg = drawn.cloneNode(true);
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const ground = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  ground.setAttribute("width", "100%");
  ground.setAttribute("height", "100%");
  ground.setAttribute("fill", getComputedStyle(document.querySelector(".stApp")).backgroundColor);
  svg.prepend(ground);
  return { blob: new Blob([svg.outerHTML], { type: "image/svg+xml" }), box: drawn.getBoundingClientRect() };
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function savePng({ blob, box }, name) {
  const image = new Image();
  image.onload = () => {
    const canvas = document.createElement("canvas");
    canvas.width = box.width * SCALE;
    canvas.height = box.height * SCALE;
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    URL.revokeObjectURL(image.src);
    canvas.toBlob(png => save(png, name), "image/png");
  };
  image.src = URL.createObjectURL(blob);
}

export default function ({ parentElement, data }) {
  const button = parentElement.querySelector("button");
  button.textContent = data.label;
  button.setAttribute("aria-label", data.said);
  button.onclick = () => {
    const svg = drawnSvg(data.container);
    if (!svg) return;
    if (data.fileName.endsWith(".png")) savePng(svg, data.fileName);
    else save(svg.blob, data.fileName);
  };
}
"""
_save_chart = st.components.v2.component("separation_index_save_chart", html=_HTML, css=_CSS, js=_JS)


def save_chart_button(label: str, *, container: str, file_name: str) -> None:
    """A button that saves the chart in `st.container(key=container)` as it is drawn, with the page's ground.

    file_name : ends in .png or .svg, which decides what is saved.
    """
    kind = file_name.rpartition(".")[2].upper()
    data = {"label": label, "said": f"Chart as {kind}", "container": container, "fileName": file_name}
    _save_chart(data=data, key=f"save_{kind}_{container}", width="content", height="content")


def save_table_buttons(table: Callable[[], pd.DataFrame], file: str) -> None:
    """Buttons that save a table, which is made only when one of them is clicked."""
    st.download_button(
        "CSV",
        lambda: table().to_csv(index=False).encode(),
        f"{file}.csv",
        "text/csv",
        on_click="ignore",
        key=f"csv_{file}",
    )
    parquet = "application/vnd.apache.parquet"
    st.download_button(
        "Parquet", lambda: _parquet(table()), f"{file}.parquet", parquet, on_click="ignore", key=f"parquet_{file}"
    )


def export_row(
    container: str,
    table: Callable[[], pd.DataFrame],
    file: str,
    info: Mapping[str, Any] | None = None,
    *,
    report_of: str | None = None,
) -> None:
    """Everything that can be taken away of a chart, in one row: pictures, numbers, and how the study was made.

    report_of : the folder of a study, whose report is offered too.
    """
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption("Save", width="content")
        for kind in ("PNG", "SVG"):
            save_chart_button(kind, container=container, file_name=f"{file}.{kind.lower()}")
        save_table_buttons(table, file)
        if info is not None:
            save_configuration_button(info, file)
        if report_of is not None:
            save_report_button(Path(report_of))


def save_table_row(table: Callable[[], pd.DataFrame], file: str) -> None:
    """A table's buttons, in a row of their own."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption("Save", width="content")
        save_table_buttons(table, file)


def save_configuration_button(info: Mapping[str, Any], file: str) -> None:
    """A button that saves how the study was made: its study.json."""
    text = json.dumps(dict(info), indent=1, ensure_ascii=False)
    name, kind = "study.json", "application/json"
    st.download_button("Configuration", text, name, kind, on_click="ignore", key=f"study_{file}")


def save_report_button(study: Path) -> None:
    """A button that saves the study as one HTML file, which is made when it is clicked."""
    missing = find_spec("vl_convert") is None
    st.download_button(
        "Report",
        lambda: _report(study),
        f"{study.name}_report.html",
        "text/html",
        on_click="ignore",
        key=f"report_{study}",
        disabled=missing,
        help=NO_REPORT if missing else "The whole study as one page that needs nothing else. It takes a few seconds.",
    )


def _report(study: Path) -> bytes:
    from core.report.content import make_report  # here, for no page needs them to be shown
    from core.report.html import as_html

    return as_html(make_report(study)).encode()


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()
