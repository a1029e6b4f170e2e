"""The part of the page Classes about two confused classes: the confusion by layer, and the samples that cause it."""

from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st
from altair.utils.schemapi import debug_mode

from core.analysis.samples.class_pairs import first_separated_layer, pair_causes, pair_curve
from core.analysis.samples.selection import LayerSelection
from core.report.charts.frame import UncheckedChart, framed, layer_x, names_parameter, upper_end
from core.report.charts.theme import GRAY
from core.report.words.formatting import one_layer, plain
from explorer.controls.downloads import picture_of, save_menu
from explorer.controls.page_style import PAIRED
from explorer.controls.sample_cards import show_picture
from explorer.controls.samples.open_sample import open_button
from explorer.controls.widgets import widget_key
from explorer.server.page_errors import guarded
from explorer.studies.gallery import short_id
from explorer.studies.loading import OpenStudy
from explorer.studies.pictures import Pictures, study_pictures
from explorer.studies.sample_paths import PairPaths, cached_pair_paths

PAGE = "classes"
PAIR_HEIGHT, CARDS, PICTURE = 190, 8, 104
CURVE, LEGEND = "class_pair", "Nearest neighbor is of"
LINES = {"the other class": ("share", [1, 0]), "their own class": ("own", [5, 3])}  # column and dash
CAPTION = (
    "Share of the samples of both classes whose nearest neighbor is of the other class (solid) or of their own class "
    "(dashed); where both shares are small, the neighbors are of further classes. Gray: chance level of the other "
    "class; dotted: the chosen layer; shaded: the layers from which on the two classes are never confused."
)


def show_pair(study: OpenStudy, pair: tuple[str, str], selection: LayerSelection) -> dict[str, list[str]] | None:
    """Show the confusion of two classes by layer, and the samples that cause it.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    pair : tuple of str
        Short names of the two classes.
    selection : LayerSelection
        Layer, pooling and samples.

    Returns
    -------
    dict or None
        Query parameters for the page Samples, if the user wants to open the samples there.
    """
    first, second = pair
    paths = cached_pair_paths(study.path, study.stamp, selection, pair)
    if paths.nearest.empty:
        st.info("The study stores no neighbors of these samples, so their confusion cannot be shown by layer.")
        return None
    curve = pair_curve(paths.nearest, paths.names, first, second, possible=paths.possible)
    if curve.empty:
        st.info("No sample of these two classes was a query.")
        return None
    finding = pair_finding(curve, pair, selection.layer)
    st.markdown(finding)
    layers = study.layers[study.layers["layer"].isin(curve["layer"])]
    with st.container(key=CURVE):
        chart = pair_chart(curve, layers, selection.layer)
        st.altair_chart(chart, width="stretch", alt=f"Confusion of {first} and {second} by layer. {finding}")
    st.caption(CAPTION)
    file = f"{Path(study.path).name}_{first}_{second}".replace(" ", "_")
    picture = picture_of(chart, study, f"Confusion of {plain(first)} and {plain(second)} by layer", CAPTION)
    save_menu(file, lambda: curve, picture, info=study.info)
    return show_causes(study, paths, pair, selection, curve)


def pair_finding(curve: pd.DataFrame, pair: tuple[str, str], layer: str) -> str:
    """How confused two classes are at a layer, and from which layer on they are not confused, as Markdown.

    Parameters
    ----------
    curve : DataFrame
        Of `pair_curve`.
    pair : tuple of str
        Short names of the two classes.
    layer : str
        The layer.
    """
    text = ""
    at_layer = curve[curve["layer"] == layer]
    if len(at_layer):
        row = at_layer.iloc[0]
        text = (
            f"At {one_layer(layer)}, **{row['count']} of {row['total']}** samples of {plain(pair[0])} and "
            f"{plain(pair[1])} have their nearest neighbor in the other class ({row['share']:.0%}; chance "
            f"{row['chance']:.1%}), {row['own']:.0%} in their own. "
        )
    separated, last = first_separated_layer(curve), curve.iloc[-1]
    none = f"none of their {last['total']} samples has its nearest neighbor in the other class"
    if separated == curve["layer"].iloc[0]:
        return f"{text}The two classes are separated at every layer with stored neighbors: {none}."
    if separated is not None:
        return f"{text}They are **separated from {one_layer(separated)} on**: {none}."
    worst = curve.iloc[int(curve["count"].argmax())]
    text += (
        f"**They are still confused at {one_layer(last['layer'])}**, the last layer with stored neighbors: "
        f"{last['count']} of {last['total']}"
    )
    if worst["count"] != last["count"]:
        text += f"; most at {one_layer(worst['layer'])}: {worst['count']}"
    return f"{text}."


@debug_mode(False)
def pair_chart(curve: pd.DataFrame, layers: pd.DataFrame, layer: str) -> UncheckedChart:
    """How often two classes are confused at each layer.

    Parameters
    ----------
    curve : DataFrame
        Of `pair_curve`.
    layers : DataFrame
        The layers of the curve, in network order.
    layer : str
        The layer to mark by a vertical line.
    """
    rows = curve.assign(
        count_text=curve["count"].astype(str) + " of " + curve["total"].astype(str),
        share_text=curve["share"].map("{:.1%}".format),
        chance_text=curve["chance"].map("{:.1%}".format),
        own_text=curve["own"].map("{:.1%}".format),
    )
    top = upper_end(rows[["share", "chance", "own"]].to_numpy(float))
    x, y = layer_x(), alt.Y("value:Q", scale=alt.Scale(domain=[0, top]), axis=alt.Axis(format="%", tickCount=4))
    y = y.title("Samples of both")
    titles = {
        "layer": "Layer",
        "count_text": "Nearest to the other class",
        "share_text": "Share",
        "chance_text": "Chance",
        "own_text": "Nearest to own class",
    }
    tooltip = [alt.Tooltip(f"{name}:N", title=title) for name, title in titles.items()]
    rule = alt.Chart(pd.DataFrame({"layer": [layer]})).mark_rule(color=GRAY, strokeDash=[3, 3], aria=False)
    chance = alt.Chart(rows[["layer"]].assign(value=rows["chance"])).mark_line(color=GRAY, strokeWidth=1.2, aria=False)
    marks = [rule.encode(x=x), chance.encode(x=x, y=y)]
    color = alt.Color("line:N", scale=alt.Scale(domain=list(LINES)), legend=alt.Legend(title=LEGEND, orient="top"))
    for name, (column, dash) in LINES.items():
        line = alt.Chart(rows[list(titles)].assign(value=rows[column], line=name))
        mark = line.mark_line(strokeWidth=2, strokeDash=dash, aria=False, point={"size": 22})
        marks.append(mark.encode(x=x, y=y, color=color, tooltip=tooltip))
    params = [names_parameter(layers["layer"])]
    return framed([*_separated_band(rows, x), *marks], height=PAIR_HEIGHT, params=params)


def _separated_band(rows: pd.DataFrame, x: alt.X) -> list[alt.Chart]:
    """A shaded band over the layers from which on the pair is never confused."""
    separated = first_separated_layer(rows)
    if separated is None:
        return []
    layers = rows.iloc[rows["layer"].tolist().index(separated) :][["layer"]]
    return [alt.Chart(layers).mark_rect(color="#2b8a3e", opacity=0.14, aria=False).encode(x=x)]


def show_causes(
    study: OpenStudy, paths: PairPaths, pair: tuple[str, str], selection: LayerSelection, curve: pd.DataFrame
) -> dict[str, list[str]] | None:
    """Show the samples that cause the confusion at the chosen layer, each beside its neighbor; see `show_pair`."""
    first, second = pair
    if selection.layer not in set(curve["layer"]):
        show_worst(
            study, curve, f"The study stores no neighbors of `{selection.layer}`, so the confused samples are unknown."
        )
        return None
    causes = pair_causes(paths.nearest, paths.names, first, second, selection.layer)
    if causes.empty:
        reason = f"At `{selection.layer}` no sample of either class has its nearest neighbor in the other class."
        show_worst(study, curve, reason)
        return None
    filters = {"class": [first], "taken": [second], "either": ["yes"]}
    st.markdown(
        f"**The images that cause it at `{selection.layer}`**, those that most layers take for the other class first:"
    )
    pictures, samples = study_pictures(study.info), paths.samples.set_index("sample")
    with st.container(key=f"{PAIRED}_causes", horizontal=True, gap="small"):
        for row in causes.head(CARDS).to_dict("records"):
            with st.container(border=True, width=252):
                show_cause(row, samples, pictures)
                title = f"{first} and {second}"
                open_button(study, PAGE, int(row["sample"]), causes["sample"], title, selection, name="cause")
    more = f"The first {CARDS} of {len(causes)} are shown. " if len(causes) > CARDS else ""
    with st.container(horizontal=True, vertical_alignment="center"):
        label = "Open this sample" if len(causes) == 1 else f"Open all {len(causes)} among the samples"
        key = widget_key("classes", "open pair", study)
        is_clicked = st.button(label, icon=":material/photo_library:", key=key, type="primary")
        st.caption(
            f"{more}The page Samples shows all their neighbors, and their nearest neighbor at every layer.",
            width="content",
        )
    return filters if is_clicked else None


def show_cause(row: dict[Any, Any], samples: pd.DataFrame, pictures: Pictures) -> None:
    """Show a sample and its nearest neighbor."""
    sample, nearest = samples.loc[row["sample"]], samples.loc[row["nearest"]]
    with st.container(horizontal=True, gap="xsmall"):
        show_picture(pictures, sample["source"], row["class_name"], PICTURE)
        show_picture(pictures, nearest["source"], f"nearest neighbor, {row['nearest_class']}", PICTURE)
    st.markdown(
        f"**{plain(row['class_name'])}** beside **{plain(row['nearest_class'])}**  \n"
        f"{plain(short_id(sample['id']))} – {plain(short_id(nearest['id']))}  \n"
        f":small[at {row['layers']} layers ({row['share']:.0%})]"
    )


def show_worst(study: OpenStudy, curve: pd.DataFrame, reason: str) -> None:
    """Show why there are no confused samples at this layer, and a button that chooses the layer with most of them."""
    worst = curve.iloc[int(curve["count"].argmax())]
    if not worst["count"]:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.info(reason)

        def choose_worst() -> None:
            st.session_state[widget_key("classes", "layer", study)] = worst["layer"]

        st.button(
            f"Show {worst['layer']}, where {worst['count']} do",
            on_click=guarded(choose_worst),
            icon=":material/arrow_forward:",
        )
