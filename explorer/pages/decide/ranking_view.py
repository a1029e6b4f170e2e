"""The part of the page Decide about networks: the ranking of the open study's samples, or an example named as one."""

from pathlib import Path

import streamlit as st

from core.analysis.ranking.options import RankOptions
from core.analysis.ranking.ranking import Ranking, load_ranking, ranks_samples_of
from core.analysis.ranking.tables import at_chance_text
from core.report.words.formatting import plain
from core.study.store.opening import StudyError
from core.study.store.study_json import look_up
from explorer.controls.downloads import export_row
from explorer.controls.layer_table import show_numbers
from explorer.controls.widgets import open_expander, widget_key
from explorer.pages.decide.charts import ranking_chart
from explorer.pages.decide.tables import MEANINGS, ranked_samples, verdict
from explorer.runs.commands import missing_text, search_folders
from explorer.server.public_mode import is_public
from explorer.studies.loading import DEMO, RANKING, OpenStudy, cached_tables

PAGE, NETWORKS = "decide", "decide_ranking"
SVG = {"usermeta": {"embedOptions": {"renderer": "svg"}}}  # so that a chart can be saved as such
COLUMNS = {
    "network": "Network",
    "layer": "Its layer",
    "value": "SI",
    "difference": "Minus the best",
    "difference_low": "low",
    "difference_high": "high",
    "confidence": "Confidence",
    "meaning": "Meaning",
    "linear_probe": "Linear probe",
    "cumulative_parameters": "Parameters",
    "seconds": "Seconds an image",
}
CAPTION = (
    "One dot a candidate layer; ringed: the layer chosen for each network by SI within the {chosen_in} samples, "
    "compared by SI {compared}. Time was measured on one machine."
)
FEATURES_COMMAND = "python -m core rank --features A=A.npz --features B=B.npz --labels LABELS --ids IDS --out ranking"
MODELS = "efficientnet-lite0,efficientnet-lite1,efficientnet-lite2"


def show_ranking(study: OpenStudy) -> None:
    """The ranking of the study's samples where there is one; else the bundled one as the example that it is."""
    st.header("Which network", anchor=False)
    ranking = ranking_of(study)
    if ranking is not None:
        _show(ranking)
        return
    st.markdown("No ranking of this study's samples is here. A command makes one of several networks on them:")
    st.code(rank_command(study), language="bash", wrap_lines=True)
    st.caption(_how_to_use(study))
    example = cached_ranking(str(DEMO / RANKING))
    label = f"An example, of other samples than this study's: {_data_name(example)}"
    if listed := open_expander(label, widget_key(PAGE, "example", study)):
        with listed:
            other = f"Its samples are those of {plain(_data_name(example))}."
            st.markdown(f"**An example: this is not about {plain(Path(study.path).name)}.** {other}")
            _show(example)


def ranking_of(study: OpenStudy) -> Ranking | None:
    """The ranking in whose folder the study lies, or the bundled one, if its samples are the study's."""
    folders = dict.fromkeys([Path(study.path).resolve().parent, (DEMO / RANKING).resolve()])
    for folder in folders:
        try:
            ranking = cached_ranking(str(folder))
            if ranking.state == "complete" and ranks_samples_of(ranking, cached_tables(study.path, study.stamp)):
                return ranking
        except (StudyError, OSError):
            continue
    return None


def rank_command(study: OpenStudy) -> str:
    """The command that ranks networks on the open study's samples, or, of features, one to be filled in."""
    data = look_up(study.info, "asked.data")
    if not data:  # a study of features says nothing of images
        return FEATURES_COMMAND
    per_class = look_up(study.info, "asked.per_class")
    seed = look_up(study.info, "asked.seed")
    options = RankOptions(
        data="DATA" if is_public() and not _is_named_data(data) else data,
        models=tuple(MODELS.split(",")),
        per_class=per_class,
        seed=0 if seed is None else seed,
    )
    return options.command("ranking")


def _how_to_use(study: OpenStudy) -> str:
    """What has to be put into the command, and how its result is shown here."""
    if is_public():
        return "It runs on your own computer, and so does the page that shows the ranking."
    missing = missing_text(study.info, search_folders(Path(study.path)), ("data",))
    then = (
        "Then open the study of one of its networks, such as `ranking/efficientnet-lite0`: this page shows the ranking."
    )
    return f"{missing} {then}".strip()


def _is_named_data(data: str) -> bool:
    """Whether that is the name of a data set, and no path."""
    return data == "digits" or data.startswith("tfds:")


def _show(ranking: Ranking) -> None:
    """A ranking's sentence, chart and table."""
    samples, compared = ranked_samples(ranking.info), ranking.info["compared"]
    unclear = at_chance_text(ranking.networks, int(ranking.info["samples"][compared["split"]]))
    st.markdown(" ".join(filter(None, [verdict(ranking.networks, samples), unclear and f"**But {plain(unclear)}.**"])))
    with st.container(key=NETWORKS):
        chart = ranking_chart(ranking.layers, ranking.networks["network"].tolist())
        st.vega_lite_chart(chart | SVG, width="stretch")
    across = "of test samples among the training samples"
    within = f"within the {compared['split']} samples"
    text = CAPTION.format(
        chosen_in="training" if compared["chosen_in"] == "train" else compared["chosen_in"],
        compared=across if compared["measure"] == "cross" else within,
    )
    cautions = [plain(caution) for caution in ranking.info.get("cautions", [])]
    st.caption(" ".join([f"{plain(_data_name(ranking))}, {samples}.", text, *cautions]))
    export_row(NETWORKS, lambda: ranking.layers, "ranking")
    show_numbers(ranking.networks.replace({"meaning": MEANINGS}), COLUMNS)


def _data_name(ranking: Ranking) -> str:
    """What the ranked samples are called."""
    return str(look_up(ranking.info, "used.data.name") or "ready-made features")


@st.cache_resource(max_entries=4, show_spinner=False)
def cached_ranking(path: str) -> Ranking:
    """The tables of a ranking."""
    return load_ranking(path)
