"""The part of the page Decide about networks: a ranking on the open study's samples, or else a bundled example."""

from pathlib import Path

import streamlit as st

from core.analysis.ranking.options import RankOptions
from core.analysis.ranking.ranking import Ranking, load_ranking, ranks_samples_of
from core.analysis.ranking.tables import at_chance_text
from core.report.words.formatting import SPLIT_NAMES, plain
from core.study.reopening import is_of_torch
from core.study.store.opening import StudyError
from core.study.store.study_json import look_up
from explorer.app_pages.decide.charts import ranking_chart
from explorer.app_pages.decide.tables import MEANINGS, ranked_samples, verdict
from explorer.controls.downloads import Picture, save_menu
from explorer.controls.layer_table import show_numbers
from explorer.controls.widgets import open_expander, widget_key
from explorer.runs.commands import missing_text, search_folders
from explorer.server.public_mode import is_public
from explorer.studies.loading import DEMO, RANKING, OpenStudy, cached_tables

PAGE, NETWORKS = "decide", "decide_ranking"
COLUMNS = {
    "network": "Network",
    "layer": "Its layer",
    "value": "SI",
    "difference": "Minus the best",
    "difference_low": "low",
    "difference_high": "high",
    "confidence": "Confidence",
    "verdict": "Meaning",
    "linear_probe": "Linear probe",
    "cumulative_parameters": "Parameters",
    "seconds": "Seconds per image",
}
CAPTION = (
    "One dot per candidate layer. Ring: the layer chosen for each network by SI within the {chosen_in} samples; the "
    "networks are compared by SI {compared}. Time was measured on one machine."
)
FEATURES_COMMAND = "python -m core rank --features A=A.npz --features B=B.npz --labels LABELS --ids IDS --out ranking"
TORCH_STUDIES = (
    "Another PyTorch network on the same samples, measured with `core.study_from_torch`, is compared with this one on "
    "the page *Compare*."
)
MODELS = "efficientnet-lite0,efficientnet-lite1,efficientnet-lite2"


def show_ranking(study: OpenStudy) -> None:
    """Show the ranking on the study's samples if there is one; else the command that makes it, and an example."""
    st.header("Which network to use", anchor="networks")
    ranking = ranking_of(study)
    if ranking is not None:
        _show(ranking)
        return
    if is_of_torch(study.info):
        st.markdown(TORCH_STUDIES)
    st.markdown("There is no ranking on this study's samples yet. This command ranks several networks on them:")
    st.code(rank_command(study), language="bash", wrap_lines=True)
    st.caption(_how_to_use(study))
    example = cached_ranking(str(DEMO / RANKING))
    label = f"An example on other samples: {_data_name(example)}"
    if expander := open_expander(label, widget_key(PAGE, "example", study)):
        with expander:
            data = f"Its samples are those of {plain(_data_name(example))}."
            st.markdown(f"**An example: this is not about {plain(Path(study.path).name)}.** {data}")
            _show(example)


def ranking_of(study: OpenStudy) -> Ranking | None:
    """A ranking on the study's samples: in the folder that contains the study, or the bundled one; None for neither."""
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
    """The command that ranks networks on the study's samples; for a study of features, one to be filled in."""
    data = look_up(study.info, "asked.data")
    if not data:  # a study of features names no images
        return FEATURES_COMMAND
    per_class = look_up(study.info, "asked.per_class")
    seed = look_up(study.info, "asked.seed")
    options = RankOptions(
        data=data if not is_public() or _is_named_data(data) else "DATA",  # no path of a public server
        models=tuple(MODELS.split(",")),
        per_class=per_class,
        seed=0 if seed is None else seed,
    )
    return options.command("ranking")


def _how_to_use(study: OpenStudy) -> str:
    """What to replace in the command, and how to open its result."""
    if is_public():
        return "Run the command, and the app that shows the ranking, on your own computer."
    missing = missing_text(study.info, search_folders(Path(study.path)), ("data",))
    network = "A" if rank_command(study) == FEATURES_COMMAND else MODELS.partition(",")[0]
    next_step = f"Then open the study of one of its networks, such as `ranking/{network}`, on this page."
    return f"{missing} {next_step}".strip()


def _is_named_data(data: str) -> bool:
    """Whether `data` is the name of a data set instead of a path."""
    return data == "digits" or data.startswith("tfds:")


def _show(ranking: Ranking) -> None:
    """Show a ranking: text, chart and table."""
    samples, compared = ranked_samples(ranking.info), ranking.info["compared"]
    unclear = at_chance_text(ranking.networks, int(ranking.info["samples"][compared["split"]]))
    st.markdown(verdict(ranking.networks, samples) + (f" **But {plain(unclear)}.**" if unclear else ""))
    with st.container(key=NETWORKS):
        chart = ranking_chart(ranking.layers, ranking.networks["network"].tolist())
        st.altair_chart(chart, width="stretch")
    if compared["measure"] == "cross":
        compared_by = "of test samples among the training samples"
    else:
        compared_by = f"within the {compared['split']} samples"
    chosen_in = SPLIT_NAMES.get(compared["chosen_in"], compared["chosen_in"])
    text = CAPTION.format(chosen_in=chosen_in, compared=compared_by)
    cautions = [plain(caution) for caution in ranking.info.get("cautions", [])]
    text = " ".join([f"{plain(_data_name(ranking))}, {samples}.", text, *cautions])
    st.caption(text)
    save_menu("ranking", lambda: ranking.layers, Picture(chart, "The networks compared", text))
    show_numbers(ranking.networks.replace({"verdict": MEANINGS}), COLUMNS)


def _data_name(ranking: Ranking) -> str:
    """The name of the ranked data."""
    return str(look_up(ranking.info, "used.data.name") or "ready-made features")


@st.cache_resource(max_entries=4, show_spinner=False)
def cached_ranking(path: str) -> Ranking:
    """The tables of a ranking."""
    return load_ranking(path)
