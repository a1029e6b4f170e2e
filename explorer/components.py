"""The one thing that Streamlit's chart menu lacks: saving a chart as SVG. (PNG is in the menu.)"""

import streamlit as st

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
export default function ({ parentElement, data }) {
  const button = parentElement.querySelector("button");
  button.textContent = data.label;
  button.onclick = () => {
    const drawn = document.querySelector(`.st-key-${data.container} .stVegaLiteChart svg.marks`);
    if (!drawn) return;
    const svg = drawn.cloneNode(true);
    svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    const ground = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    ground.setAttribute("width", "100%");
    ground.setAttribute("height", "100%");
    ground.setAttribute("fill", getComputedStyle(document.querySelector(".stApp")).backgroundColor);
    svg.prepend(ground);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([svg.outerHTML], { type: "image/svg+xml" }));
    link.download = data.fileName;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
}
"""
_save_svg = st.components.v2.component("separation_index_save_svg", html=_HTML, css=_CSS, js=_JS)


def save_svg_button(label: str, *, container: str, file_name: str) -> None:
    """A button that saves the chart in `st.container(key=container)`, as it is drawn, with the page's ground."""
    data = {"label": label, "container": container, "fileName": file_name}
    _save_svg(data=data, key=f"save_svg_{container}", width="content", height="content")
