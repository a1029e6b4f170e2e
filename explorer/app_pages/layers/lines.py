"""The lines of several studies, and of several sample sizes, in one chart: a table with one row a layer and line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from core.analysis.several_studies import LayerAlignment, align_layers, study_differences
from core.report.words.changes import why_not_comparable
from core.report.words.formatting import SAMPLES
from explorer.app_pages.layers.measure_options import chosen_curves, sampling_title
from explorer.state.choices import POOLINGS, Selection, select_curves, select_layers
from explorer.state.measures import FULL, Sampling
from explorer.studies.loading import OpenStudy

NUM_COLORS = 5  # of the theme
LINE_COLUMNS = [
    *("line", "study", "size", "way", "layer", "depth", "value", "low", "high", "chance"),
    *("num_queries", "num_references", "target", "color", "dash", "shape"),
]


@dataclass(frozen=True, eq=False)
class Lines:
    """The data of a chart with several lines of SI.

    Attributes
    ----------
    rows : DataFrame
        One row a layer and line, with the columns `LINE_COLUMNS`: line, the line's name; study; size, the samples that
        it is of; way, samples and pooling; depth, the layer's relative position in percent; color, dash and shape, its
        style. Only rows with a value.
    alignment : LayerAlignment
        Its layers are those of the chart.
    layers : DataFrame
        The layers of the alignment, with the columns layer and block.
    missing : tuple of str
        The studies without any value for the user's choices.
    not_comparable : mapping of str to str
        The studies that cannot be compared with the first one, with the reason.
    """

    rows: pd.DataFrame
    alignment: LayerAlignment
    missing: tuple[str, ...] = ()
    not_comparable: Mapping[str, str] = field(default_factory=dict)
    layers: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["layer", "block"]))

    def names(self, column: str) -> list[str]:
        """The distinct values of a column, in the order of the lines."""
        return list(dict.fromkeys(self.rows[column]))


def read_lines(studies: Mapping[str, OpenStudy], selection: Selection) -> Lines:
    """The chosen lines of each study.

    Parameters
    ----------
    studies : mapping
        From the name that the chart shows to the study; the open study first.
    selection : Selection
        What is shown of each study. Filters of layers are applied to each study's own layers; the range of layers only
        where a study has both ends of it.
    """
    tables = {name: _study_lines(study, selection) for name, study in studies.items()}
    present = {name: rows for name, rows in tables.items() if len(rows)}
    if not present:
        return Lines(pd.DataFrame(columns=LINE_COLUMNS), LayerAlignment("name"), tuple(studies))
    layers = {name: _shown_layers(studies[name], rows) for name, rows in present.items()}
    alignment = align_layers([(studies[name].info, layers[name]) for name in present])
    rows = pd.concat([rows.assign(study=name) for name, rows in present.items()], ignore_index=True)
    rows = _styled(rows.assign(line=line_names(rows)))
    missing = tuple(name for name in studies if name not in present)
    blocks = _layers_with_blocks(alignment.layers, [studies[name].layers for name in present])
    return Lines(rows[LINE_COLUMNS], alignment, missing, reasons_against(studies), blocks)


def reasons_against(studies: Mapping[str, OpenStudy]) -> dict[str, str]:
    """Why some studies cannot be compared with the first one, by their names; those that can are left out."""
    (_, first), *others = studies.items()
    reasons = {name: why_not_comparable(study_differences(first.info, other.info)) for name, other in others}
    return {name: reason for name, reason in reasons.items() if reason}


def line_names(rows: pd.DataFrame) -> pd.Series:
    """The name of each row's line: of study, size and way, what distinguishes it from other lines."""
    parts = [rows[column] for column in ("study", "size", "way") if len(rows[column].unique()) > 1]
    if not parts:
        return rows["study"]
    names = parts[0].astype(str)
    for part in parts[1:]:
        names = names + ", " + part.astype(str)
    return names


def chance_levels_by_study(rows: pd.DataFrame) -> list[tuple[float, str]]:
    """The chance levels of the studies, each with the names of its studies; levels less than 0.01 apart are merged."""
    levels = rows.groupby("study", sort=False)["chance"].mean().dropna().sort_values()
    groups: list[list[tuple[float, str]]] = []
    for study, level in levels.items():
        if groups and level - groups[-1][0][0] < 0.01:
            groups[-1].append((level, str(study)))
        else:
            groups.append([(level, str(study))])
    merged = []
    for group in groups:
        names = ", ".join(name for _, name in group) if len(groups) > 1 else ""
        merged.append((float(np.mean([level for level, _ in group])), names))
    return merged


def _styled(rows: pd.DataFrame) -> pd.DataFrame:
    """Add the style of each row's line: color (a name), dash and shape (whole numbers from 0).

    Studies have different colors, and the lines of one study different dashes; in a chart of one study, sample sizes
    have different colors. When the colors are used up, the shapes differ.
    """
    color = "study" if len(rows["study"].unique()) > 1 else "size"
    variant = rows["way"] if color == "size" else rows["size"] + ", " + rows["way"]
    return rows.assign(color=rows[color], dash=_indices(variant), shape=_indices(rows[color]) // NUM_COLORS)


def _indices(values: pd.Series) -> pd.Series:
    """The index of each value among the distinct values, in order of appearance."""
    index = {value: position for position, value in enumerate(dict.fromkeys(values))}
    return values.map(index)


def _study_lines(study: OpenStudy, selection: Selection) -> pd.DataFrame:
    """The chosen lines of one study, without their names."""
    names = set(study.layers["layer"])
    if not set(selection.span) <= names:
        selection = replace(selection, span=())
    layers = select_layers(study.layers, selection)
    depth = pd.Series(np.linspace(0, 100, len(study.layers)) if len(study.layers) > 1 else 0.0, study.layers["layer"])
    parts = []
    for sampling in _by_size(selection.samplings):
        curves = select_curves(chosen_curves(study, selection.measure, sampling), layers, selection)
        parts.append(curves.assign(size=sampling_title(sampling)))
    curves = pd.concat(parts, ignore_index=True)
    curves = curves[(curves["measure"] == "SI") & curves["value"].notna()]
    way = curves["samples"].map(lambda name: SAMPLES.get(name, name))
    if len(curves["pooling"].unique()) > 1:
        way = way + ", " + curves["pooling"].map(lambda name: POOLINGS[name].lower())
    return curves.assign(way=way, depth=curves["layer"].map(depth))


def _by_size(samplings: Sequence[Sampling]) -> list[Sampling]:
    """The smallest size first, all samples last."""
    return sorted(samplings, key=lambda sampling: (sampling == FULL, sampling.size or 0, sampling.kind))


def _layers_with_blocks(names: Sequence[str], tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The layers of these names with the block that the first study which has the layer gives it."""
    known = pd.concat([table[["layer", "block"]] for table in tables]).drop_duplicates("layer").set_index("layer")
    blocks = known["block"].reindex(list(names)).fillna("")
    return blocks.rename_axis("layer").reset_index()


def _shown_layers(study: OpenStudy, rows: pd.DataFrame) -> Sequence[str]:
    """The layers of some rows, in network order."""
    shown = set(rows["layer"])
    return [str(name) for name in study.layers["layer"] if name in shown]
