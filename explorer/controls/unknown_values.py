"""What an address says in vain: values that the open study does not have, and names that no page knows."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from core.report.words.formatting import plain
from core.study.store.opening import StudyError
from core.study.store.tables.class_names import short_class
from core.training.recording.epochs import recorded_epochs
from explorer.controls.sections import TAB
from explorer.state.address import LAYER, STUDY, TOLERANCE, is_tolerance
from explorer.state.choices import COLUMNS, unmatched_names
from explorer.state.measures import stored_measures, stored_samplings
from explorer.studies.gallery import FILTERS, MARK_FILTERS, PAGE_SIZES, SORTS
from explorer.studies.loading import OpenStudy
from explorer.studies.sample_paths import cached_samples

MOST_NAMED = 5
_LAYERS, _CLASSES = (LAYER, "span"), ("class", "taken", "pair", "find")
_CHOICES: Mapping[str, Collection[str]] = {  # that are the same for every study
    "columns": COLUMNS,
    "match": ("name", "position"),
    "show": FILTERS,
    "sort": SORTS,
    "mark": MARK_FILTERS,
    "tiles": [str(size) for size in PAGE_SIZES],
    "either": ("yes",),
    "open": ("yes",),
    "table": ("open",),
    "knn": ("no",),
}
_OF_STUDY = ("kinds", "blocks", "pooling", "samples", "split", "epoch", "sample", "measure", "sampling", "layers")
_PARAMETERS = {  # all names that an address of a page about a study may have
    *(*_LAYERS, *_CLASSES, *_CHOICES, *_OF_STUDY),
    *(STUDY, TOLERANCE, TAB, "page", "also", "before"),
}
_PAGE = re.compile("([0-9]{1,9})–[0-9]{1,9}")  # of a gallery or a list
_LONGEST = 60  # characters of a value


def unknown_values(study: OpenStudy, query: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what an address says in vain, each value after what it should be; parameters that no page has come first.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    query : mapping
        All query parameters of the address.
    """
    layers, curves = study.layers, study.curves
    unknown = [f"parameter {name[:_LONGEST]}" for name in query if name not in _PARAMETERS]
    for name in _LAYERS:
        unknown += _missing("layer", query.get(name, ()), layers["layer"])
    unknown += _missing("kind", query.get("kinds", ()), layers["kind"])
    unknown += _missing("block", query.get("blocks", ()), layers["block"])
    unknown += _missing("pooling", query.get("pooling", ()), [*curves["pooling"].unique(), "both"])
    for name in ("samples", "split"):
        unknown += _missing("samples", query.get(name, ()), curves["samples"].unique())
    unknown += [f"tolerance {value[:_LONGEST]}" for value in query.get(TOLERANCE, ()) if not is_tolerance(value)]
    if "epoch" in query:
        unknown += _missing("epoch", query["epoch"], map(str, recorded_epochs(study.path)))
    unknown += _unknown_choices(study, query)
    if not {"sample", "page", *_CLASSES} & set(query):
        return unknown
    try:
        samples = cached_samples(study.path, study.stamp)
    except StudyError:  # the parts of the page that show samples say so
        return unknown
    unknown += _missing("sample", query.get("sample", ()), [*samples["id"], *samples["sample"].astype(str)])
    for name in _CLASSES:
        unknown += _missing("class", map(short_class, query.get(name, ())), samples["class_name"])
    for value in query.get("page", ()):
        page = _PAGE.fullmatch(value)
        if page is None or not 1 <= int(page[1]) <= len(samples):
            unknown.append(f"page {value[:_LONGEST]}")
    return unknown


def _unknown_choices(study: OpenStudy, query: Mapping[str, Sequence[str]]) -> list[str]:
    """The values of measures, samplings, names of layers, and of choices that are the same for every study."""
    unknown = _missing("measure", query.get("measure", ()), map(str, stored_measures(study.family)))
    unknown += _missing("sampling", query.get("sampling", ()), map(str, stored_samplings(study.subsamples)))
    names = unmatched_names(study.layers["layer"].tolist(), query.get("layers", ()))
    unknown += [f"layer {name[:_LONGEST]}" for name in names]
    for name, offered in _CHOICES.items():
        unknown += _missing(name, query.get(name, ()), offered)
    return unknown


def unknown_text(unknown: Sequence[str]) -> str:
    """What an address names in vain, as Markdown; at most `MOST_NAMED` values.

    >>> unknown_text(["layer conv9", "sample 7"])
    '**The link names what is not here:** layer conv9, sample 7. The page shows its usual choice instead.'
    """
    named = ", ".join(plain(value) for value in unknown[:MOST_NAMED])
    more = f" and {len(unknown) - MOST_NAMED:,} more" if len(unknown) > MOST_NAMED else ""
    return f"**The link names what is not here:** {named}{more}. The page shows its usual choice instead."


def _missing(what: str, values: Iterable[str], known: Iterable[str]) -> list[str]:
    offered = set(known)
    return [f"{what} {value[:_LONGEST]}" for value in values if value and value not in offered]
