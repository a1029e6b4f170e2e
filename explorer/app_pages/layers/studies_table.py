"""The table of the studies in the chart: what each found, and the name, note and tags that a person gives it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler

from core.analysis.layer_properties import probe_accuracies
from core.analysis.separation_level import best_layer, has_best_layer, lead_curve
from core.report.charts.theme import GRAY
from core.report.words.findings import describe
from core.report.words.formatting import SAMPLES, plain
from core.report.words.provenance import weights_text
from core.study.store.description import MOST_NAME, MOST_NOTE
from core.study.store.opening import load_study
from core.study.store.study_json import look_up
from explorer.app_pages.layers.lines import reasons_against
from explorer.controls.study_picker import cached_study
from explorer.server.page_errors import guarded
from explorer.state.address import PICKER
from explorer.studies.descriptions import describe_study, description_of, fault_of, is_kept
from explorer.studies.loading import OpenStudy

CONFIG: Mapping[str, Any] = {
    "name": st.column_config.TextColumn("Name", pinned=True),
    "against": st.column_config.TextColumn("Not comparable", help="Why its values cannot be compared with the first."),
    "tags": st.column_config.ListColumn("Tags"),
    "note": st.column_config.TextColumn("Note"),
    "network": st.column_config.TextColumn("Network"),
    "data": st.column_config.TextColumn("Data"),
    "samples": st.column_config.TextColumn("Samples", help="Of which SI, interval and accuracy are."),
    "n": st.column_config.NumberColumn("n", format="localized", help="SI rises with it."),
    "layer": st.column_config.TextColumn("Highest SI at", help="Other layers need not be certainly lower: see Decide."),
    "si": st.column_config.NumberColumn("SI", format="%.3f"),
    "interval": st.column_config.TextColumn("95%", help="For the SI expected of a fresh sample of the same size."),
    "chance": st.column_config.NumberColumn("Chance", format="%.4f"),
    "accuracy": st.column_config.NumberColumn(
        "Accuracy", format="%.3f", help="Of the linear probe at this layer; of kNN where there is no probe."
    ),
    "minutes": st.column_config.NumberColumn(
        "Time (min)", format="%.1f", help="From the first start of the study to its end."
    ),
    "made": st.column_config.DatetimeColumn("Made", format="YYYY-MM-DD HH:mm", timezone="UTC"),
    "finding": st.column_config.TextColumn("Finding", help="As far as the intervals allow."),
}


def study_facts(study: OpenStudy, probe: pd.DataFrame) -> dict[str, Any]:
    """The row of a study without name, note and tags; None for what is not known.

    Parameters
    ----------
    study : OpenStudy
        A study with values.
    probe : DataFrame
        Of `core.analysis.layer_properties.probe_accuracies`.
    """
    model, weights = look_up(study.info, "used.model.name"), weights_text(study.info)
    started, ended = (_time(study.info.get(name)) for name in _TIMES)
    facts = {
        "network": ", ".join(filter(None, [model, weights])) or None,
        "data": look_up(study.info, "used.data.name"),
        "minutes": (ended - started).total_seconds() / 60 if started and ended else None,
        "made": ended or started,
    }
    return facts | _lead_facts(study, probe)


def studies_table(
    rows: Mapping[str, Mapping[str, Any]],
    descriptions: Mapping[str, Mapping[str, Any]],
    against: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """One row a study, with the columns of `CONFIG`.

    Parameters
    ----------
    rows : mapping
        From the name of a study in the chart to its `study_facts`.
    descriptions : mapping
        From the same names to name, note and tags.
    against : mapping, optional
        From the names of studies that are not comparable with the first one to the reason; without any, the table has
        no column for it.
    """
    reasons = against or {}
    table = pd.DataFrame([{**rows[name], **descriptions[name], "against": reasons.get(name)} for name in rows])
    return table.reindex(columns=[column for column in CONFIG if column != "against" or reasons])


def in_gray(table: pd.DataFrame) -> pd.DataFrame | Styler:
    """The table with the rows of studies that are not comparable in gray."""
    if "against" not in table:
        return table
    styles = table["against"].map(lambda reason: f"color: {GRAY}" if pd.notna(reason) else "")
    return table.style.apply(lambda _: styles, axis=0)


def show_studies(study: OpenStudy, studies: Mapping[str, OpenStudy]) -> None:
    """Show the table of the studies in the chart, if there are several, and the form that names and tags one.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    studies : mapping
        From the name in the chart to each study; the open study first.
    """
    if len(studies) > 1:
        st.header("The studies in the chart", anchor=False)
        rows = {name: cached_facts(one.path, one.stamp) for name, one in studies.items()}
        descriptions = {name: _described(name, one) for name, one in studies.items()}
        against = reasons_against(studies)
        table = studies_table(rows, descriptions, against)
        st.dataframe(in_gray(table), hide_index=True, column_config=dict(CONFIG), placeholder="–")
    with st.container(horizontal=True, vertical_alignment="center"):
        with st.popover("Name, note and tags", icon=":material/edit:", key="describe"):
            _show_form(study, studies)
        for fault in [*st.session_state.pop(_FAULTS, []), *(fault_of(Path(one.path)) for one in studies.values())]:
            if fault:
                st.warning(plain(fault), icon=":material/edit_off:")
        note = description_of(Path(study.path)).note
        if note and len(studies) == 1:
            st.caption(plain(note))


def _show_form(study: OpenStudy, studies: Mapping[str, OpenStudy]) -> None:
    """Show the fields of one study's description, with a button that keeps them."""
    names, chooser = {one.path: name for name, one in studies.items()}, f"described beside {study.path}"
    chosen = study.path
    if len(names) > 1:
        chosen = str(st.selectbox("Study", list(names), format_func=lambda path: names.get(path, path), key=chooser))
    path = Path(chosen if chosen in names else study.path)
    present = description_of(path)
    known_tags = [tag for one in studies.values() for tag in description_of(Path(one.path)).tags]
    keys = {field: f"{field} in the description of {path}" for field in ("name", "note", "tags")}

    def keep() -> None:
        values = {field: st.session_state[key] for field, key in keys.items()}
        try:
            describe_study(path, **values)
        except (ValueError, OSError) as error:  # StudyError is a ValueError
            st.session_state[_FAULTS] = [str(error)]
        # The titles in these lists change with the name. Without a value that is set here, Streamlit would look for the
        # old titles, and take them for what the user typed.
        for key in (chooser, PICKER, f"also of {study.path}"):
            if key in st.session_state:
                st.session_state[key] = st.session_state[key]

    with st.form(f"description of {path}", border=False):
        st.text_input("Name", present.name, key=keys["name"], max_chars=MOST_NAME, placeholder=names[str(path)])
        st.text_area("Note", present.note, key=keys["note"], max_chars=MOST_NOTE, height=100)
        st.multiselect(
            "Tags",
            list(dict.fromkeys([*known_tags, *present.tags])),
            present.tags,
            key=keys["tags"],
            accept_new_options=True,
            placeholder="Type a word",
        )
        if not is_kept(path):
            st.caption(READ_ONLY)
        st.form_submit_button("Save", on_click=guarded(keep))


def _described(name: str, study: OpenStudy) -> dict[str, Any]:
    """Name, note and tags of a study; without a name, what the chart calls it."""
    description = description_of(Path(study.path))
    return {"name": description.name or name, "note": description.note, "tags": list(description.tags)}


def _time(text: object) -> pd.Timestamp | None:
    """A time of study.json; None where it has none, or one that cannot be read."""
    time = pd.to_datetime(str(text or ""), utc=True, errors="coerce")
    return time if isinstance(time, pd.Timestamp) else None


def _lead_facts(study: OpenStudy, probe: pd.DataFrame) -> dict[str, Any]:
    """What the curve that the headline describes says."""
    lead = lead_curve(study.curves)
    if lead.empty:
        return {}
    facts: dict[str, Any] = {
        "samples": SAMPLES.get(str(lead["samples"].iloc[0]), str(lead["samples"].iloc[0])),
        "n": int(lead["num_queries"].max()),
        "finding": describe(lead).headline,
    }
    if not has_best_layer(lead):
        return facts
    best = lead.set_index("layer").T[best_layer(lead)]
    bounded = pd.notna(best["low"]) and pd.notna(best["high"])
    return facts | {
        "layer": str(best.name),
        "si": float(best["value"]),
        "interval": f"{best['low']:.3f} to {best['high']:.3f}" if bounded else None,
        "chance": float(best["chance"]),
        "accuracy": _accuracy(study, probe, str(best.name), best),
    }


def _accuracy(study: OpenStudy, probe: pd.DataFrame, layer: str, best: "pd.Series[Any]") -> float | None:
    """The accuracy of the linear probe at a layer, else of kNN, for the samples of its SI."""
    probed = probe[(probe["layer"] == layer) & (probe["split"] == best["samples"])]["value"].dropna()
    rows = study.curves
    voted = rows[(rows["measure"] == "kNN") & (rows["layer"] == layer) & (rows["samples"] == best["samples"])]
    values = [*probed, *voted.loc[voted["pooling"] == best["pooling"], "value"].dropna()]
    return float(values[0]) if values else None


@st.cache_data(max_entries=64, show_spinner=False)
def cached_facts(path: str, stamp: tuple[int, ...]) -> dict[str, Any]:
    """The `study_facts` of a study."""
    return study_facts(cached_study(path, stamp), probe_accuracies(load_study(path).measurements))


READ_ONLY = (
    "Names, notes and tags of studies that come with the app, and of others that cannot be written here, are kept for "
    "this visit only. Copy a study to a folder of your own to keep them with it."
)
_TIMES = ("created", "finished")
_FAULTS = "faults of the description of a study"
