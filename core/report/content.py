"""The content of a report, independent of its format: sentences, tables and charts, made from a study's tables."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from core.analysis.comparing import compare_studies, match_layers
from core.analysis.curves import measured_layers, tidy_curves
from core.analysis.cut.blocks import ACCURACY_TOLERANCE, cannot_verify, separation_across_blocks, with_verified
from core.analysis.cut.verified_blocks import load_verified
from core.analysis.samples.selection import LayerSelection
from core.analysis.samples.tables import named_pairs
from core.analysis.separation_level import best_layer, lead_curve
from core.report.lead_values import classes_at, in_display_order, splits_of, values_at
from core.report.tables import Table, block_table, class_table, confusion_table, layer_table, training_table
from core.report.words.blocks import ALONE, NO_MEASUREMENT, blocks_text
from core.report.words.cards import best_with_neighbors, cards_of, good_enough
from core.report.words.changes import describe_changes
from core.report.words.findings import Finding, describe
from core.report.words.formatting import SAMPLES, one_layer, plain
from core.report.words.provenance import caption_parts, known_facts
from core.report.words.small_classes import baseline_text
from core.study.store.description import read_description
from core.study.store.opening import Study, StudyError, load_study
from core.training.recording.epochs import load_epoch, read_epochs, read_history

if TYPE_CHECKING:
    from core.report.charts.frame import UncheckedChart

METHOD = (
    "The **Separation Index (SI)** of a layer is the share of samples whose nearest other sample, in that layer's "
    "activations, has the same label (Kalhor et al., arXiv 1906.05156): the leave-one-out accuracy of a "
    "one-nearest-neighbor classifier. Test to train: the nearest *training* sample of each test sample.",
    "Neighbors are exact: matrix products with error bounds select candidates, and distances in float64 decide; of "
    "equally near samples the first counts. Channel means: each channel's average over the image; all activations: "
    "flattened, positions included.",
    "**Chance** is the exact mean of SI with meaningless labels. The **interval** is a 95% interval for the SI "
    "expected of a fresh sample of the same size and classes or, where only some samples were queries, for the SI of "
    "all samples of the study. It takes into account that samples share neighbors.",
)
LIMITS = (
    "SI is not the accuracy of the network: a layer whose classes a linear classifier separates may have a low SI, and "
    "vice versa.",
    "SI rises with the number of samples. Compare values at equal sizes only.",
    "SI depends on the distance: means and flattened activations of one layer are two different spaces.",
    "The best layer was chosen by its value, and the highest of many values is biased upward.",
    "A layer is recommended as a cut only where the paired interval of its difference to the best, corrected for the "
    "number of layers, lies above minus the tolerance. Otherwise the samples cannot decide.",
)
MEASURE_BLOCKS = "`python -m core blocks STUDY --verify` measures it."
_MOST_CLASSES, _MOST_CONFUSIONS = 40, 12


@dataclass(frozen=True, eq=False)
class Chart:
    """A chart with its title and a note, which is Markdown.

    `draw` makes the chart and imports what that takes, so that a report in Markdown needs no Altair.
    """

    title: str
    draw: Callable[[], "UncheckedChart"]
    note: str


@dataclass(frozen=True, eq=False)
class Section:
    """A part of the report: a text, which is Markdown, then charts, then tables."""

    title: str
    text: str
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, eq=False)
class Report:
    """The content of a report. Texts are Markdown, except `name`, `facts`, `repeat` and `write`, which are plain.

    Attributes
    ----------
    name : str
        Name of the study's folder.
    caption : str
        Network, data, number of samples and seed.
    finding : Finding
        How far and where the classes separate.
    findings : tuple of str
        The cut, the most confused classes, the samples to check.
    sections : tuple of Section
    cautions : tuple of str
        Cautions of the study.
    facts : mapping
        From a label to the text beside it.
    repeat : str
        The command that repeats the study; "" where the study does not record it.
    write : str
        The command that writes this report again.
    """

    name: str
    caption: str
    finding: Finding
    findings: tuple[str, ...]
    sections: tuple[Section, ...]
    cautions: tuple[str, ...]
    facts: Mapping[str, str]
    repeat: str
    write: str


def make_report(path: str | os.PathLike[str], *, write: str = "") -> Report:
    """Make the content of a study's report.

    Parameters
    ----------
    path : path
        The folder of the study.
    write : str
        The command that writes the report, which the report quotes.

    Raises
    ------
    StudyError
        The folder is not a study, or the study has no value of SI.
    """
    study = load_study(path)
    layers = measured_layers(study)
    curves = tidy_curves(layers, study.measurements)
    lead = lead_curve(curves)
    if lead.empty:
        raise StudyError(f"{os.fspath(path)} has no Separation Index to report. Run the study first.")
    best = best_layer(lead)
    advice = good_enough(study, lead)
    cut, confused, check = cards_of(study, lead, advice)
    findings = {"Where it is good enough": cut, "Most confused classes": confused, "Samples to check": check}
    shown_curves = in_display_order(curves[(curves["pooling"] == lead["pooling"].iloc[0]) & curves["value"].notna()])
    marked = {best: "best"}
    if advice.recommended is not None:
        marked.setdefault(advice.recommended, "cut here")
    sections = (
        _layers_section(study, layers, shown_curves, marked),
        _blocks_section(study, lead),
        _classes_section(study, lead, best),
        _sizes_section(study, lead, best),
        _training_section(study, lead),
    )
    return Report(
        name=_name_of(path),
        caption=" · ".join(map(plain, caption_parts(study.info, curves))),
        finding=describe(lead),
        findings=tuple(f"**{title}.** {card.text}" for title, card in findings.items()),
        sections=tuple(section for section in sections if section is not None),
        cautions=tuple(plain(caution) for caution in study.info.get("cautions", [])),
        facts=known_facts(study.info, study.state, curves),
        repeat=str(study.info.get("command") or ""),
        write=write,
    )


def _name_of(path: str | os.PathLike[str]) -> str:
    """The name that a person gave the study, else its folder's."""
    folder = Path(os.path.abspath(path))
    try:
        return read_description(folder).name or folder.name
    except StudyError:  # a damaged description changes no number
        return folder.name


def _layers_section(study: Study, layers: pd.DataFrame, curves: pd.DataFrame, marked: Mapping[str, str]) -> Section:
    """SI of every layer. marked : from some layers to a word beside them."""

    def draw() -> "UncheckedChart":
        from core.report.charts.frame import CONTAINER
        from core.report.charts.layer_chart import layers_chart

        return layers_chart(curves, layers[layers["layer"].isin(curves["layer"])], marked=marked, size=CONTAINER)

    note = "In network order. Dashed gray: chance. Band: the 95% interval. Point at a layer for its numbers."
    note = " ".join(filter(None, [note, baseline_text(study.samples, curves)]))
    chart = Chart("Separation Index by layer", draw, note)
    return Section("Layer by layer", "", (chart,), (layer_table(study, curves, layers, marked),))


def _blocks_section(study: Study, lead: pd.DataFrame) -> Section | None:
    """The accuracy without each block, where it was measured, and SI across it; None for features."""
    split, among = splits_of(lead)
    measure = "cross" if among != split else "separation"
    try:
        blocks = separation_across_blocks(study, split=split, pooling=str(lead["pooling"].iloc[0]), measure=measure)
    except StudyError:
        return None
    verified = load_verified(study)
    table = with_verified(blocks, verified, ACCURACY_TOLERANCE)
    if verified is not None:
        text = f"{blocks_text(table, verified, ACCURACY_TOLERANCE)} {ALONE}"
    else:
        text = f"{NO_MEASUREMENT} {cannot_verify(study) or MEASURE_BLOCKS}"
    return Section("Block by block", text, tables=(block_table(table),))


def _classes_section(study: Study, lead: pd.DataFrame, layer: str) -> Section | None:
    """SI of each class at a layer, the hardest classes first, and the most confused classes."""
    classes = classes_at(study, lead, layer)
    if classes.empty:
        return None
    hardest = classes.head(_MOST_CLASSES)
    all_shown = len(hardest) == len(classes)
    note = "The hardest first." if all_shown else f"The {len(hardest)} hardest of {len(classes)} classes."

    def draw() -> "UncheckedChart":
        from core.report.charts.class_chart import class_chart
        from core.report.charts.frame import CONTAINER

        return class_chart(hardest, size=CONTAINER)

    charts = (Chart(f"SI of each class at {layer}", draw, f"{note} Tick: chance."),)
    with_neighbors = best_with_neighbors(study, lead)
    confusions = _confusions(study, lead, with_neighbors)
    text = f"At the best layer, {one_layer(layer)}, {_where(lead)}."
    if confusions and with_neighbors != layer:
        text += (
            f" The most confused classes are those at {one_layer(with_neighbors)}, the best layer whose neighbors are "
            "stored."
        )
    return Section("Class by class", text, charts, (*confusions, class_table(classes)))


def _confusions(study: Study, lead: pd.DataFrame, layer: str) -> tuple[Table, ...]:
    """The most confused classes at a layer; no table where the study stores no neighbors of it."""
    selection = LayerSelection(layer, str(lead["pooling"].iloc[0]), str(lead["samples"].iloc[0]))
    try:
        pairs = named_pairs(study, selection)
    except StudyError:
        return ()
    return (confusion_table(pairs.head(_MOST_CONFUSIONS)),) if len(pairs) else ()


def _sizes_section(study: Study, lead: pd.DataFrame, layer: str) -> Section | None:
    """SI over sample size at the best layer."""
    rows = values_at(study.curves, lead, layer)
    if rows.empty:
        return None

    def draw() -> "UncheckedChart":
        from core.report.charts.frame import CONTAINER
        from core.report.charts.size_chart import sizes_chart

        return sizes_chart(rows, size=CONTAINER)

    note = "Dots: mean over the draws; line: fitted, dashed where extrapolated; band: its 95% interval."
    chart = Chart(f"SI of {layer} over sample size", draw, note)
    text = f"SI of {one_layer(layer)} with fewer or more samples, all of them possible neighbors, {_where(lead)}."
    return Section("Sample size", text, (chart,))


def _training_section(study: Study, lead: pd.DataFrame) -> Section | None:
    """SI over the epochs of a recorded training; None where fewer than two epochs are recorded."""
    epochs, history = read_epochs(study.path), read_history(study.path)
    rows = epochs[(epochs["measure"] == "separation") & (epochs["split"] == lead["samples"].iloc[0])]
    if rows["epoch"].nunique() < 2:
        return None
    order = list(lead["layer"])
    rows = rows[rows["layer"].isin(order)]
    charts = _training_charts(rows, order, history)
    first, last = int(rows["epoch"].min()), int(rows["epoch"].max())
    text = f"From epoch {first} to epoch {last}: {_training_change(study, lead, first, last)}"
    return Section("While training", text, tuple(charts), (training_table(rows, order, history),))


def _training_charts(rows: pd.DataFrame, order: list[str], history: pd.DataFrame) -> list[Chart]:
    """SI by layer with a slider for the epoch, SI by epoch, and loss and accuracy where they were reported."""

    def draw_network() -> "UncheckedChart":
        from core.report.charts.frame import CONTAINER
        from core.report.charts.training_charts import network_chart

        return network_chart(rows, order, size=CONTAINER)

    def draw_training() -> "UncheckedChart":
        from core.report.charts.frame import CONTAINER
        from core.report.charts.training_charts import training_chart

        return training_chart(rows, order, size=CONTAINER)

    def draw_loss() -> "UncheckedChart":
        from core.report.charts.frame import CONTAINER
        from core.report.charts.training_charts import loss_chart

        return loss_chart(history, size=CONTAINER)

    note = (
        "Move the slider to choose an epoch; epoch 0 is before the training. Faint: the other epochs; dashed gray: "
        "chance."
    )
    charts = [
        Chart("SI through the network after each epoch", draw_network, note),
        Chart("SI of each layer over the epochs", draw_training, "Click a layer in the legend."),
    ]
    if history["loss"].notna().any():
        charts.append(Chart("Loss and accuracy", draw_loss, "As the training reported them."))
    return charts


def _training_change(study: Study, lead: pd.DataFrame, first: int, last: int) -> str:
    """The change of SI from one recorded epoch to another, in words."""
    before, after = (load_epoch(study.path, epoch) for epoch in (first, last))
    split, pooling = str(lead["samples"].iloc[0]), str(lead["pooling"].iloc[0])
    table = compare_studies(before, after, pooling=pooling, split=split, match="name")
    match = match_layers(before, after, pooling=pooling, split=split, match="name")
    match = replace(match, assumes_same_samples=False)  # one training measures the same samples in each epoch
    return describe_changes(table, match, (f"epoch {first}", f"epoch {last}"))


def _where(lead: pd.DataFrame) -> str:
    """The samples and the pooling of a curve, such as "test samples, channel means"."""
    pooling = {"mean": "channel means", "flat": "all activations"}
    samples = str(lead["samples"].iloc[0])
    return f"{SAMPLES.get(samples, samples).lower()} samples, {pooling.get(str(lead['pooling'].iloc[0]), '')}"
