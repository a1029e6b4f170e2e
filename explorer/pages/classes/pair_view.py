"""Two classes that run into each other: where in the network, where no longer, and the images that cause it."""

from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st
from altair.utils.schemapi import debug_mode

from core.analysis.samples.class_pairs import first_separated_layer, pair_causes, pair_curve
from core.report.words.formatting import one_layer, plain
from explorer.charts.layer_chart import GRAY, NAMES, UncheckedChart, framed, layer_x, upper_end
from explorer.controls.downloads import export_row
from explorer.controls.sample_cards import show_picture
from explorer.controls.widgets import widget_key
from explorer.server.page_errors import guarded
from explorer.studies.class_tables import Place
from explorer.studies.gallery import short_id
from explorer.studies.loading import OpenStudy
from explorer.studies.paths import Pair, cached_pair
from explorer.studies.pictures import Pictures, study_pictures

PAIR_HEIGHT, CARDS, PICTURE = 190, 8, 104
CURVE = "class_pair"
LINES = {"the other class": ("share", [1, 0]), "their own class": ("own", [5, 3])}  # column and dash
CAPTION = (
    "Share of the samples of both classes whose nearest neighbor is of the other one (solid), and of their own "
    "(dashed): where both are small, the network knows neither. Gray: the other class by meaningless labels; dotted: "
    "the chosen layer; shaded: parted for good, none beside the other class from there to the end."
)


def show_pair(study: OpenStudy, pair: tuple[str, str], place: Place) -> dict[str, list[str]] | None:
    """The pair's curve and the samples behind it; where to go on: filters for the page Samples, or None."""
    first, second = pair
    found = cached_pair(study.path, study.stamp, place, pair)
    if found.nearest.empty:
        st.info("The study stores no neighbors of these samples, which would tell who causes it.")
        return None
    curve = pair_curve(found.nearest, found.names, first, second, possible=found.possible)
    if curve.empty:
        st.info("No sample of these two classes was asked.")
        return None
    said = pair_finding(curve, pair, place.layer)
    st.markdown(said)
    known = study.layers[study.layers["layer"].isin(curve["layer"])]
    with st.container(key=CURVE):
        chart = pair_chart(curve, known, place.layer)
        st.altair_chart(chart, width="stretch", alt=f"Confusion of {first} and {second} by layer. {said}")
    st.caption(CAPTION)
    export_row(CURVE, lambda: curve, f"{Path(study.path).name}_{first}_{second}".replace(" ", "_"), study.info)
    return show_causes(study, found, pair, place, curve)


def pair_finding(curve: pd.DataFrame, pair: tuple[str, str], layer: str) -> str:
    """How confused two classes are at a layer, and from where on no longer, as Markdown.

    curve : of `pair_curve`.
    """
    here, parted, last = curve[curve["layer"] == layer], first_separated_layer(curve), curve.iloc[-1]
    text, asked = "", f"none of their {last['total']} samples has its nearest neighbor in the other class"
    if len(here):
        row = here.iloc[0]
        text = (
            f"At {one_layer(layer)}, **{row['count']} of {row['total']}** samples of {plain(pair[0])} and "
            f"{plain(pair[1])} have their nearest neighbor in the other class ({row['share']:.1%}; chance "
            f"{row['chance']:.1%}), {row['own']:.0%} in their own. "
        )
    if parted == curve["layer"].iloc[0]:
        return text + f"The two are apart at every layer: {asked}."
    if parted is not None:
        return text + f"They are **parted for good from {one_layer(parted)} on**: {asked}."
    most = curve.iloc[int(curve["count"].argmax())]
    end = (
        f"**They never part**: at the last layer, {one_layer(last['layer'])}, it is {last['count']} of {last['total']}"
    )
    return text + (
        f"{end}." if most["count"] == last["count"] else f"{end}; most at {one_layer(most['layer'])}: {most['count']}."
    )


@debug_mode(False)
def pair_chart(curve: pd.DataFrame, layers: pd.DataFrame, layer: str) -> UncheckedChart:
    """How often two classes are confused at each layer.

    Parameters
    ----------
    curve : of `pair_curve`. layers : those of the curve, in network order. layer : marked by a rule.
    """
    rows = curve.assign(text=curve["count"].astype(str) + " of " + curve["total"].astype(str))
    for name, column in {"percent": "share", "by": "chance", "same": "own"}.items():
        rows[name] = rows[column].map("{:.1%}".format)
    top = upper_end(rows[["share", "chance", "own"]].to_numpy(float))
    x, y = layer_x(layers), alt.Y("value:Q", scale=alt.Scale(domain=[0, top]), axis=alt.Axis(format="%", tickCount=4))
    y = y.title("Nearest neighbor is of …")
    titles = {
        "layer": "Layer",
        "text": "Beside the other class",
        "percent": "Share",
        "by": "Chance",
        "same": "Own class",
    }
    tooltip = [alt.Tooltip(f"{name}:N", title=title) for name, title in titles.items()]
    rule = alt.Chart(pd.DataFrame({"layer": [layer]})).mark_rule(color=GRAY, strokeDash=[3, 3], aria=False)
    chance = alt.Chart(rows[["layer"]].assign(value=rows["chance"])).mark_line(color=GRAY, strokeWidth=1.2, aria=False)
    marks = [rule.encode(x=x), chance.encode(x=x, y=y)]
    color = alt.Color("line:N", scale=alt.Scale(domain=list(LINES)), legend=alt.Legend(title=None, orient="top"))
    for name, (column, dash) in LINES.items():
        line = alt.Chart(rows[list(titles)].assign(value=rows[column], line=name))
        mark = line.mark_line(strokeWidth=2, strokeDash=dash, aria=False, point={"size": 22})
        marks.append(mark.encode(x=x, y=y, color=color, tooltip=tooltip))
    params = [alt.VariableParameter(name=NAMES, value=tuple(layers["layer"]))]
    return framed([*_parted_band(rows, x), *marks], height=PAIR_HEIGHT, params=params)


def _parted_band(rows: pd.DataFrame, x: alt.X) -> list[alt.Chart]:
    """The layers at which the pair is parted for good, shaded."""
    parted = first_separated_layer(rows)
    if parted is None:
        return []
    after = rows.iloc[rows["layer"].tolist().index(parted) :][["layer"]]
    return [alt.Chart(after).mark_rect(color="#2b8a3e", opacity=0.14, aria=False).encode(x=x)]


def show_causes(
    study: OpenStudy, found: Pair, pair: tuple[str, str], place: Place, curve: pd.DataFrame
) -> dict[str, list[str]] | None:
    """The samples that cause the confusion at the chosen layer, each beside its neighbor; where to go on, or None."""
    first, second = pair
    if place.layer not in set(curve["layer"]):
        show_worst(
            study, curve, f"The study stores no neighbors at `{place.layer}`, which would tell who causes it there."
        )
        return None
    causes = pair_causes(found.nearest, found.names, first, second, place.layer)
    if causes.empty:
        reason = f"At `{place.layer}` no sample of the one has its nearest neighbor in the other."
        show_worst(study, curve, reason)
        return None
    filters = {"class": [first], "taken": [second], "either": ["yes"]}
    st.markdown(
        f"**The images that cause it at `{place.layer}`**, those that most layers take for the other class first:"
    )
    pictures, known = study_pictures(study.info), found.samples.set_index("sample")
    with st.container(horizontal=True, gap="small"):
        for row in causes.head(CARDS).to_dict("records"):
            with st.container(border=True, width=252):
                if show_cause(study, row, known, pictures):
                    return {**filters, "sample": [str(known["id"][row["sample"]])]}
    more = f"The first {CARDS} of {len(causes)} are shown. " if len(causes) > CARDS else ""
    with st.container(horizontal=True, vertical_alignment="center"):
        label = "Open this sample" if len(causes) == 1 else f"Open all {len(causes)} among the samples"
        key = widget_key("classes", "open pair", study)
        asked = st.button(label, icon=":material/photo_library:", key=key, type="primary")
        st.caption(f"{more}There with all their neighbors, and their path through the layers.", width="content")
    return filters if asked else None


def show_cause(study: OpenStudy, row: dict[Any, Any], known: pd.DataFrame, pictures: Pictures) -> bool:
    """One sample and its nearest neighbor; whether it was chosen."""
    sample, nearest = known.loc[row["sample"]], known.loc[row["nearest"]]
    with st.container(horizontal=True, gap="xsmall"):
        show_picture(pictures, sample["source"], row["class_name"], PICTURE)
        show_picture(pictures, nearest["source"], f"nearest neighbor, {row['nearest_class']}", PICTURE)
    st.markdown(
        f"**{plain(row['class_name'])}** beside **{plain(row['nearest_class'])}**  \n"
        f"{plain(short_id(sample['id']))} – {plain(short_id(nearest['id']))}  \n"
        f":small[so at {row['layers']} layers ({row['share']:.0%})]"
    )
    return st.button("Look closer", key=f"cause {row['sample']} of {study.path}", width="stretch")


def show_worst(study: OpenStudy, curve: pd.DataFrame, reason: str) -> None:
    """Why this layer shows no confused samples, and a button to the layer that has most of them."""
    worst = curve.iloc[int(curve["count"].argmax())]
    if not worst["count"]:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.info(reason)

        def go() -> None:
            st.session_state[widget_key("classes", "layer", study)] = worst["layer"]

        st.button(
            f"Look at {worst['layer']}, where {worst['count']} do",
            on_click=guarded(go),
            icon=":material/arrow_forward:",
        )
