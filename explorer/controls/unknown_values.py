"""Values in an address that the open study does not have, such as a layer of another one."""

from collections.abc import Iterable, Mapping, Sequence

from core.report.words.formatting import plain
from core.study.store.opening import StudyError
from core.study.store.tables.class_names import short_class
from core.training.recording.epochs import recorded_epochs
from explorer.state.address import TOLERANCE, is_tolerance
from explorer.studies.loading import OpenStudy
from explorer.studies.sample_paths import cached_samples

MOST_NAMED = 5
_LAYERS, _CLASSES = ("layer", "span"), ("class", "taken", "pair", "find")
_LONGEST = 60  # characters of a value


def unknown_values(study: OpenStudy, query: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the values of an address that the study does not have, each after what it should be.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    query : mapping
        All query parameters of the address.
    """
    layers, curves = study.layers, study.curves
    unknown = []
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
    if not {"sample", *_CLASSES} & set(query):
        return unknown
    try:
        samples = cached_samples(study.path, study.stamp)
    except StudyError:  # the parts of the page that show samples say so
        return unknown
    unknown += _missing("sample", query.get("sample", ()), [*samples["id"], *samples["sample"].astype(str)])
    for name in _CLASSES:
        unknown += _missing("class", map(short_class, query.get(name, ())), samples["class_name"])
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
