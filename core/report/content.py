"""What a report says, before it is HTML or Markdown: sentences, tables and charts, computed from a study's tables."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from core.analysis.comparing import compare_studies, match_layers
from core.analysis.curves import measured_layers, tidy_curves
from core.analysis.cut.blocks import TOLERANCE, cannot_verify, separation_across_blocks, with_verified
from core.analysis.cut.verified_blocks import load_verified
from core.analysis.samples.neighborhoods import confused_pairs
from core.analysis.separation_level import best_layer, lead_curve
from core.report.charts import class_chart, layers_chart, sizes_chart
from core.report.marks import Spec
from core.report.tables import SAMPLES, Table, block_table, class_table, confusion_table, layer_table, training_table
from core.report.training_charts import loss_chart, network_chart, training_chart
from core.report.words.blocks import ALONE, NO_MEASUREMENT, blocks_text
from core.report.words.cards import good_enough, make_cards
from core.report.words.changes import describe_changes
from core.report.words.findings import Finding, describe
from core.report.words.formatting import one_layer, plain
from core.report.words.provenance import caption_parts, known_facts
from core.report.words.small_classes import baseline_text
from core.study.store.class_names import short_classes
from core.study.store.opening import Study, StudyError, load_study
from core.training.recording.epochs import load_epoch, read_epochs, read_history

METHOD = (
    "The **Separation Index (SI)** of a layer is the share of samples whose nearest other sample, in that layer's "
    "activations, bears the same label (Kalhor et al., arXiv 1906.05156): the leave-one-out accuracy of a "
    "one-nearest-neighbor classifier. Test to train: the nearest *training* sample of each test sample.",
    "Neighbors are exact: a shortlist by bounded products, decided in float64; of equally near samples the first "
    "counts. Channel means: each channel's average over the image; all activations: flattened, positions included.",
    "**Chance** is what meaningless labels would score on average, exactly. The **interval** is one of 95 % for the SI "
    "expected of a fresh sample of the same size and classes, or, where only some samples were asked, for the SI of "
    "all at hand. It counts that samples share neighbors.",
)
LIMITS = (
    "SI is no accuracy of the network: a layer whose classes a linear classifier parts may have a low SI, and the "
    "reverse.",
    "SI rises with the number of samples. Compare values at equal sizes only.",
    "SI depends on the distance: means and flattened activations of one layer are two different spaces.",
    "The best layer was chosen by its value; the highest of many values is, by luck, a little too high.",
    "A layer is recommended as a cut only where the paired interval of its difference to the best, corrected for the "
    "number of layers, lies above minus the tolerance. Where it does not, the samples cannot decide.",
)
MEASURE_BLOCKS = "`python -m core blocks STUDY --verify` measures it."
_MOST_CLASSES, _MOST_CONFUSIONS = 40, 12


@dataclass(frozen=True, eq=False)
class Chart:
    """A chart in words and as a specification of Vega-Lite. `note` is Markdown."""

    title: str
    spec: Spec
    note: str


@dataclass(frozen=True, eq=False)
class Section:
    """A part of the report: charts, then tables, with a sentence before. Markdown."""

    title: str
    text: str
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, eq=False)
class Report:
    """All that is said of a study. Texts are Markdown but for `name`, `command` and the facts, which are plain.

    findings : one sentence each. cautions : of the study itself. facts : label to text. repeat : the command that
    repeats the study, or "" where it does not say; write : the one that writes this report again.
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
    """What there is to say of a study.

    Parameters
    ----------
    path : its folder. write : the command that is named as the one that writes the report.

    Raises
    ------
    StudyError
        The folder is no study, or one without a value of SI.
    """
    study = load_study(path)
    layers = measured_layers(study)
    curves = tidy_curves(layers, study.measurements)
    lead = lead_curve(curves)
    if lead.empty:
        raise StudyError(f"{os.fspath(path)} has no Separation Index to report. Run the study first.")
    best = best_layer(lead)
    shown = curves[(curves["pooling"] == lead["pooling"].iloc[0]) & curves["value"].notna()]
    sections = (
        _layers_section(study, layers, shown, lead),
        _blocks_section(study, lead),
        _classes_section(study, lead, best),
        _sizes_section(study, lead, best),
        _training_section(study, lead),
    )
    return Report(
        name=Path(os.path.abspath(path)).name,
        caption=" · ".join(map(plain, caption_parts(study.info, curves))),
        finding=describe(lead),
        findings=tuple(f"**{title}.** {text}" for title, text in _findings(study, lead).items()),
        sections=tuple(section for section in sections if section is not None),
        cautions=tuple(plain(caution) for caution in study.info.get("cautions", [])),
        facts=known_facts(study.info, study.state, curves),
        repeat=str(study.info.get("command") or ""),
        write=write,
    )


def _findings(study: Study, lead: pd.DataFrame) -> dict[str, str]:
    cut, confused, check = make_cards(study, lead)
    return {
        "Where it is good enough": cut.text,
        "Most confused classes": confused.text,
        "Samples to check": check.text,
    }


def _layers_section(study: Study, layers: pd.DataFrame, shown: pd.DataFrame, lead: pd.DataFrame) -> Section:
    marked = {best_layer(lead): "best"}
    advice = good_enough(study, lead)
    if advice.recommended is not None:
        marked.setdefault(advice.recommended, "cut here")
    votes = shown.loc[shown["measure"] == "kNN", "order"].unique()
    dotted = f" Dotted: accuracy of kNN, k = {votes[0]}." if len(votes) else ""
    note = (
        f"In network order. Dashed gray: chance. Band: the 95 % interval.{dotted} Point at a layer for its numbers; "
        "click a name in the legend to show one line alone."
    )
    note = " ".join(filter(None, [note, baseline_text(study.samples, shown)]))
    chart = Chart("Separation Index by layer", layers_chart(shown, layers, marked), note)
    return Section("Layer by layer", "", (chart,), (layer_table(study, shown, layers, marked),))


def _blocks_section(study: Study, lead: pd.DataFrame) -> Section | None:
    """The accuracy without each block, where it was measured, and SI across it; nothing for features."""
    split, among = _splits(lead)
    measure = "cross" if among != split else "separation"
    try:
        blocks = separation_across_blocks(study, split=split, pooling=str(lead["pooling"].iloc[0]), measure=measure)
    except StudyError:
        return None
    verified = load_verified(study)
    table = with_verified(blocks, verified, TOLERANCE)
    if verified is not None:
        text = f"{blocks_text(table, verified, TOLERANCE)} {ALONE}"
    else:
        text = f"{NO_MEASUREMENT} {cannot_verify(study) or MEASURE_BLOCKS}"
    return Section("Block by block", text, tables=(block_table(table),))


def _classes_section(study: Study, lead: pd.DataFrame, layer: str) -> Section | None:
    classes = _of_lead(study, study.classes, lead, layer)
    if classes.empty:
        return None
    samples = study.samples.assign(class_name=study.samples["class_name"].astype(object))
    full = samples.dropna(subset=["class_name"]).drop_duplicates("label").set_index("label")["class_name"]
    words = short_classes(full.astype(str))
    names = classes["label"].map(full.map(words)).fillna(classes["label"].astype(str))
    classes = classes.assign(class_name=names).sort_values(["value", "class_name"], ignore_index=True)
    hardest = classes.head(_MOST_CLASSES)
    left_out = len(classes) - len(hardest)
    note = f"The {len(hardest)} hardest of {len(classes)} classes." if left_out else "The hardest first."
    charts = (Chart(f"SI of each class at {layer}", class_chart(hardest), f"{note} Tick: chance."),)
    return Section(
        "Class by class",
        f"At the best layer, {one_layer(layer)}, {_where(lead)}.",
        charts,
        (*_confusions(study, lead, layer, words), class_table(classes)),
    )


def _confusions(study: Study, lead: pd.DataFrame, layer: str, words: Mapping[str, str]) -> tuple[Table, ...]:
    """The most confused classes; nothing where the study stores no neighbors there."""
    split, among = _splits(lead)
    try:
        pairs = confused_pairs(study, layer, str(lead["pooling"].iloc[0]), split, among=among)
    except StudyError:
        return ()
    named = pairs.assign(**{name: pairs[name].replace(dict(words)) for name in ("first", "second")})
    return (confusion_table(named.head(_MOST_CONFUSIONS)),) if len(pairs) else ()


def _sizes_section(study: Study, lead: pd.DataFrame, layer: str) -> Section | None:
    """SI over sample size at the best layer."""
    rows = _of_lead(study, study.curves, lead, layer)
    if rows.empty:
        return None
    note = "Dots: mean over the draws; line: fitted, dashed where extrapolated; band: its 95 % interval."
    chart = Chart(f"SI of {layer} over sample size", sizes_chart(rows), note)
    text = f"SI of {one_layer(layer)} with fewer or more samples, each the others' possible neighbor, {_where(lead)}."
    return Section("Sample size", text, (chart,))


def _training_section(study: Study, lead: pd.DataFrame) -> Section | None:
    """SI over the epochs of a training that was recorded."""
    epochs, history = read_epochs(study.path), read_history(study.path)
    rows = epochs[(epochs["measure"] == "separation") & (epochs["split"] == lead["samples"].iloc[0])]
    if rows["epoch"].nunique() < 2:
        return None
    order = list(lead["layer"])
    rows = rows[rows["layer"].isin(order)]
    charts = [
        Chart(
            "SI through the network after each epoch",
            network_chart(rows, order),
            "Move the slider to play the training. Epoch 0 is before it. Faint: the other epochs; dashed gray: chance.",
        ),
        Chart("SI of each layer over the epochs", training_chart(rows, order), "Click a layer in the legend."),
    ]
    if history["loss"].notna().any():
        charts.append(Chart("Loss and accuracy", loss_chart(history), "As the training reported them."))
    first, last = int(rows["epoch"].min()), int(rows["epoch"].max())
    text = f"From epoch {first} to epoch {last}: {_training_change(study, lead, first, last)}"
    return Section("While training", text, tuple(charts), (training_table(rows, order, history),))


def _training_change(study: Study, lead: pd.DataFrame, first: int, last: int) -> str:
    """What changed from one recorded epoch to another, with intervals."""
    before, after = (load_epoch(study.path, epoch) for epoch in (first, last))
    split, pooling = str(lead["samples"].iloc[0]), str(lead["pooling"].iloc[0])
    table = compare_studies(before, after, pooling=pooling, split=split, match="name")
    match = match_layers(before, after, pooling=pooling, split=split, match="name")
    match = replace(match, assumes_same_samples=False)  # one training measures the same samples in each epoch
    return describe_changes(table, match, (f"epoch {first}", f"epoch {last}"))


def _of_lead(study: Study, table: pd.DataFrame, lead: pd.DataFrame, layer: str) -> pd.DataFrame:
    """Rows of first-order SI, of the samples and pooling of the leading curve, at a layer."""
    split, among = _splits(lead)
    measure = "cross" if among != split else "separation"
    rows = table[(table["layer"] == layer) & (table["split"] == split) & (table["measure"] == measure)]
    poolings = set(rows["pooling"].astype(str))
    pooling = str(lead["pooling"].iloc[0])
    return rows[rows["pooling"] == (pooling if pooling in poolings else next(iter(poolings), pooling))]


def _splits(lead: pd.DataFrame) -> tuple[str, str]:
    """Whose samples, and whose neighbors."""
    samples = str(lead["samples"].iloc[0])
    return ("test", "train") if samples == "cross" else (samples, samples)


def _where(lead: pd.DataFrame) -> str:
    pooling = {"mean": "channel means", "flat": "all activations"}
    samples = str(lead["samples"].iloc[0])
    return f"{SAMPLES.get(samples, samples).lower()} samples, {pooling.get(str(lead['pooling'].iloc[0]), '')}"
