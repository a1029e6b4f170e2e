"""The samples, the pooling and the layer that a table about samples or classes is of, and what a study offers."""

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from core.analysis import separation_level
from core.analysis.curves import measured_layers, tidy_curves
from core.study.store.lookup import check_layers, check_pooling, check_split, check_study
from core.study.store.opening import Study, StudyError


@dataclass(frozen=True)
class LayerSelection:
    """A layer of a study, and the samples and activations whose neighbors are looked at.

    Attributes
    ----------
    layer : str
        Name of the layer.
    pooling : str
        "mean" or "flat".
    samples : str
        "train", "test", or "cross": test samples, whose neighbors are searched among the training samples.
    """

    layer: str
    pooling: str
    samples: str

    @property
    def split(self) -> str:
        """The split of the query samples."""
        return "test" if self.samples == "cross" else self.samples

    @property
    def among(self) -> str:
        """The split of their possible neighbors."""
        return "train" if self.samples == "cross" else self.samples


def select_layer(
    study: Study,
    *,
    layer: str | None = None,
    split: str | None = None,
    among: str | None = None,
    pooling: str | None = None,
) -> LayerSelection:
    """Choose what a table is of; what is left out is chosen as on the pages Classes and Samples.

    Parameters
    ----------
    study : Study
    layer : str, optional
        Default the layer of the highest SI, of those whose neighbors the study stores if it does so of any.
    split : {"test", "train"}, optional
        The split of the samples; default test where the study has SI of test samples of several classes.
    among : {"test", "train"}, optional
        The split of their neighbors; default that of the samples.
    pooling : {"mean", "flat"}, optional
        Default channel means where the study has them.

    Raises
    ------
    StudyError
        The study has no such layer, split or pooling, no SI yet, or none of these samples.
    """
    check_study(study)
    curves = tidy_curves(measured_layers(study), study.measurements)
    poolings, offered_samples = offered_poolings_and_samples(curves)
    if not offered_samples:
        if study.state == "complete":
            raise StudyError(
                f"The study in {study.path} has no Separation Index at any layer; the column note of its table layers "
                "says why."
            )
        raise StudyError(f"The study in {study.path} has no Separation Index yet. Wait until its first layer is done.")
    if layer is not None:
        check_layers(study, [layer])
    if pooling is None:
        pooling = poolings[0]
    check_pooling(study, pooling)
    samples = _samples(study, split, among, offered_samples)
    if layer is None:
        layers = offered_layers(curves, pooling, samples)
        if not layers:
            raise StudyError(
                f"The study in {study.path} has no Separation Index of {_in_words(samples)} ({pooling}), by which a "
                f"layer could be chosen. It has {', '.join(map(_in_words, offered_samples))}. Name a layer."
            )
        layer = best_layer(curves, pooling, samples, layers_with_neighbors(study))
    return LayerSelection(layer, pooling, samples)


def _samples(study: Study, split: str | None, among: str | None, offered: tuple[str, ...]) -> str:
    """Train, test or cross: see `LayerSelection`."""
    if split is None:
        default = LayerSelection("", "", offered[0])
        split, among = default.split, among or default.among
    among = among or split
    check_split(study, split)
    check_split(study, among, "among")
    if (split, among) == ("train", "test"):
        raise StudyError(
            "among must be 'train' for training samples, whose neighbors are searched among themselves; got 'test'."
        )
    return split if split == among else "cross"


def _in_words(samples: str) -> str:
    return "test samples among training samples" if samples == "cross" else f"{samples} samples"


def layers_with_neighbors(study: Study) -> tuple[str, ...]:
    """Return the layers whose neighbors a study stores, in network order."""
    return tuple(study.distinct("neighbors", "layer"))


def offered_poolings(rows: pd.DataFrame) -> tuple[str, ...]:
    """Return the poolings to choose from: channel means first, then all activations if any of their values differs.

    Parameters
    ----------
    rows : DataFrame
        Rows of SI with layer, samples, pooling and value, such as those of `core.analysis.curves.tidy_curves`.
    """
    rows = rows.drop_duplicates(["layer", "samples", "pooling"]).fillna({"value": -1.0})
    values = {
        name: set(part[["layer", "samples", "value"]].itertuples(index=False, name=None))
        for name, part in rows.groupby("pooling")
    }
    names = tuple(name for name in ("mean", "flat") if name in values)
    return names[:1] if len(names) == 2 and values["flat"] <= values["mean"] else names


def offered_poolings_and_samples(curves: pd.DataFrame) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the poolings and the samples that a study has, the default first; samples of one class come last.

    Parameters
    ----------
    curves : DataFrame
        As returned by `core.analysis.curves.tidy_curves`.
    """
    rows = curves[(curves["measure"] == "SI") & curves["value"].notna()]
    has_one_class = rows["chance"] == 1  # every neighbor agrees, whatever the labels
    several_classes = set(rows.loc[~has_one_class, "samples"])
    one_class = set(rows.loc[has_one_class, "samples"]) - several_classes
    names = ("test", "train", "cross")
    samples = [name for name in names if name in several_classes] + [name for name in names if name in one_class]
    return offered_poolings(rows), tuple(samples)


def offered_layers(curves: pd.DataFrame, pooling: str, samples: str) -> list[str]:
    """Return the layers that have an SI for this pooling and these samples, in network order."""
    return list(_with_value(curves, pooling, samples).sort_values("position")["layer"])


def best_layer(curves: pd.DataFrame, pooling: str, samples: str, preferred: Collection[str] = ()) -> str:
    """Return the layer with the highest SI, of the preferred ones if any of them has one.

    See `core.analysis.separation_level.best_layer`.
    """
    rows = _with_value(curves, pooling, samples)
    is_preferred = rows["layer"].isin(list(preferred))
    return separation_level.best_layer(rows[is_preferred] if is_preferred.any() else rows)


def _with_value(curves: pd.DataFrame, pooling: str, samples: str) -> pd.DataFrame:
    """The rows of `curves` that have an SI for this pooling and these samples."""
    keep = (curves["measure"] == "SI") & (curves["pooling"] == pooling) & (curves["samples"] == samples)
    return curves[keep & curves["value"].notna()]
