"""Blocks of a network: the change of SI across each block, and the accuracy of the network without it.

SI does not tell whether a network needs a block, because early blocks may prepare what later ones separate: among 18
residual blocks that were tested, a flat SI gave the right answer 11 times. So each residual block is removed for a
test, with its shortcut in place of its sum, and the accuracy is measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from core.analysis.comparing import LayersOfStudy, layer_values
from core.analysis.cut.without_network import why_no_network
from core.analysis.result_tables import BLOCKS, checked
from core.measures.noninferiority import verdicts_of
from core.measures.paired import paired_difference
from core.measures.significance import wilson
from core.network.cutting import bypass_blocks, largest_units, residual_layers
from core.study.plan import Plan, Progress, Report
from core.study.store.opening import Study, StudyError

ACCURACY_TOLERANCE = 0.01  # default, as a difference of accuracy
NOT_WORSE, WORSE, UNDECIDED, NOT_TRIED = "not worse", "worse", "cannot be decided", ""
_VERDICTS = {"within": NOT_WORSE, "worse": WORSE, "undecided": UNDECIDED}  # of `core.measures.noninferiority`
MEASURED = ["block", "output", "accuracy", "change", "low", "high"]


@dataclass(frozen=True)
class Together:
    """The accuracy after joint removal of all blocks whose single removal makes the network not worse.

    Attributes
    ----------
    blocks : tuple of str
        Names of the blocks.
    tolerance : float
        The tolerance by which they were called not worse.
    accuracy, change : float
        Accuracy on the test images without them, and its difference to that of the whole network.
    low, high : float
        Interval of the change.
    """

    blocks: tuple[str, ...]
    tolerance: float
    accuracy: float
    change: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Verified:
    """The accuracy of a network without each of its residual blocks, removed one at a time and without training.

    Attributes
    ----------
    accuracy : float
        Accuracy of the whole network on the test images.
    num_test : int
        Number of test images.
    level : float
        Level of each interval, 1 − 0.05 / number of blocks, so that all of them hold together with 95% confidence.
    blocks : DataFrame
        One row for each block that could be removed, with the columns `MEASURED`: block, output (its last layer),
        accuracy (without it), change (that minus the accuracy of the whole network), low, high (interval of the change,
        paired on the same images).
    together : Together or None
        The result without all blocks that are not worse; None where these are fewer than two.
    chance : float
        The accuracy of always predicting the most frequent class of the test images; nan where unknown.
    """

    accuracy: float
    num_test: int
    level: float
    blocks: pd.DataFrame
    together: Together | None = None
    chance: float = float("nan")

    @property
    def is_above_chance(self) -> bool:
        """Whether the whole network's accuracy is certainly above chance, by Wilson's interval, or chance is unknown.

        Otherwise nothing follows about the blocks: a network at chance cannot become worse without any of them.
        """
        return not wilson(self.accuracy, self.num_test)[0] <= self.chance


def separation_across_blocks(
    study: Study,
    *,
    split: str | None = None,
    pooling: str = "mean",
    measure: str = "separation",
    compared: LayersOfStudy | None = None,
) -> pd.DataFrame:
    """Return the change of SI across each block of a study's network, from its tables alone.

    This describes a block and is not a reason to remove it; `verify_blocks` measures what the removal costs.

    A block reaches from the last measured layer with spatial extent before it to its own last one. Where the layer
    before the block is a convolution followed by batch normalization, SI before the block is that of the convolution.

    Parameters
    ----------
    study : Study
    split : {"test", "train"}, optional
        By default test samples where there are any.
    pooling : {"mean", "flat"}
    measure : {"separation", "cross"}
        As in `core.analysis.comparing.compare_studies`.
    compared : LayersOfStudy, optional
        The study's layers with the same split, pooling and measure, if some have been compared before, as for advice on
        a cut: their neighbors are not read again.

    Returns
    -------
    DataFrame
        One row a block, in network order: block, input, output (layers); before, after (SI), difference, low, high (95
        % interval of the difference), paired; parameters (from input to output), parameters_share (of those up to the
        deepest measured layer).

    Raises
    ------
    StudyError
        The study lacks the measure, or has layers of fewer than two blocks.
    """
    if split is None:
        split = "test" if (study.samples["split"] == "test").any() else "train"
    values = layer_values(study, measure=measure, pooling=pooling, split=split)
    values = values[values["value"].notna()]
    layers = study.layers.set_index("layer")
    spatial = [layer for layer in values.index if len(layers["output_shape"][layer]) > 1]
    last_layers = {str(layers["block"][layer]): layer for layer in spatial}  # later layers replace earlier ones
    outputs = sorted(last_layers.values(), key=lambda layer: values["position"][layer])
    if len(outputs) < 2:
        raise StudyError(
            f"The study in {study.path} must have layers of at least two blocks; got {len(outputs)}. "
            "Features have none; of a network, measure --layers main."
        )
    pairs = list(pairwise(outputs))
    if compared is None:
        compared = LayersOfStudy(study, measure=measure, pooling=pooling, split=split)
    table = compared.compare(pairs)
    cumulative = layers["cumulative_parameters"].astype(float)
    parameters = cumulative[outputs].diff().to_numpy()[1:]
    changes = pd.DataFrame(
        {
            "block": [str(layers["block"][output]) for output in outputs[1:]],
            "input": table["layer_before"],
            "output": table["layer"],
            **{name: table[name] for name in ("before", "after", "difference", "low", "high", "paired")},
            "parameters": parameters,
            "parameters_share": parameters / (cumulative.max() or np.nan),  # nan where the study counts none
        }
    )
    return checked(changes, BLOCKS, "blocks")


def verify_blocks(
    plan: Plan, blocks: pd.DataFrame, *, tolerance: float = ACCURACY_TOLERANCE, progress: Report | None = None
) -> Verified:
    """Measure the accuracy of the network on the test images without each of its residual blocks.

    The network is not trained again. The class of each output unit of its head is determined by the training images: it
    is the class whose images have this unit as their largest one most often. So a head for other classes, such as those
    of ImageNet, can be evaluated on classes that are among them.

    Parameters
    ----------
    plan : Plan
        The plan of the study, as returned by `core.study.reopening.reopen_plan`, with training and test images.
    blocks : DataFrame
        As returned by `separation_across_blocks`. Blocks that do not end in a sum with their input are left out.
    tolerance : float
        The blocks without which accuracy is not worse by more than this are also removed all together.
    progress : callable, optional
        Called with the number of images that are done.

    Raises
    ------
    StudyError
        Training or test images are missing, or no block can be bypassed.
    ValueError
        The network has no head.
    """
    assert plan.network is not None, "reopening refuses studies without a network"
    model, samples = plan.network.model, plan.samples
    if samples.split_names != ("train", "test"):
        raise StudyError(
            "The accuracy without a block needs training and test images. Run the study with --split both."
        )
    residual = blocks[blocks["output"].isin(residual_layers(model))].reset_index(drop=True)
    if residual.empty:
        raise StudyError("No block can be bypassed: none of them ends in a sum with its input.")
    train, test = samples.rows("train"), samples.rows("test")
    units = _largest_units(plan, model, train, "naming the training images", progress)[0]
    class_of = _class_of_units(units, samples.labels[train], num_units=model.outputs[0].shape[-1])
    labels = samples.labels[test]

    def predict(groups: Sequence[Sequence[str]], stage: str) -> NDArray[np.bool_]:
        """Whether each test image is predicted correctly, by the whole network and without each group of blocks."""
        correct: NDArray[np.bool_] = (
            class_of[_largest_units(plan, bypass_blocks(model, groups), test, stage, progress)] == labels
        )
        return correct

    level = 1 - 0.05 / len(residual)
    correct = predict([[layer] for layer in residual["output"]], "without each block")
    changes = pd.DataFrame([_change(correct[0], without, labels, level) for without in correct[1:]])
    measured = pd.concat([residual[["block", "output"]], changes], axis=1)[MEASURED]
    chance = most_frequent_share(labels)
    verified = Verified(float(correct[0].mean()), len(test), level, measured, chance=chance)
    harmless = measured[verdicts(measured, tolerance) == NOT_WORSE]
    if len(harmless) < 2 or not verified.is_above_chance:
        return verified
    whole, without = predict([harmless["output"].tolist()], "without all that are not worse")
    change = _change(whole, without, labels, level)
    return replace(verified, together=Together(tuple(harmless["block"]), tolerance, **change))


def most_frequent_share(labels: ArrayLike) -> float:
    """Return the share of the most frequent class."""
    counts = np.unique(np.asarray(labels), return_counts=True)[1]
    return float(counts.max() / len(np.asarray(labels)))


def verdicts(measured: pd.DataFrame, tolerance: float) -> pd.Series:
    """Return the verdict on each block.

    Parameters
    ----------
    measured : DataFrame
        With low and high, the interval of the change of accuracy without a block; nan where it was not measured.
    tolerance : float
        Acceptable loss of accuracy, in (0, 1).

    Returns
    -------
    Series of str
        "not worse" where low lies above −tolerance, "worse" where high lies below −tolerance, otherwise "cannot be
        decided"; "" where nothing was measured.
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance must lie between 0 and 1; got {tolerance}. 0.01 is one point of accuracy.")
    verdict = pd.Series(verdicts_of(measured["low"], measured["high"], tolerance), measured.index, dtype=object)
    return verdict.map(_VERDICTS).where(measured["low"].notna(), NOT_TRIED)


def with_verified(
    blocks: pd.DataFrame, verified: Verified | None, tolerance: float = ACCURACY_TOLERANCE
) -> pd.DataFrame:
    """Add the measured accuracy without each block to the rows of `separation_across_blocks`.

    Parameters
    ----------
    blocks : DataFrame
        As returned by `separation_across_blocks`.
    verified : Verified or None
        None where nothing was measured.
    tolerance : float
        Acceptable loss of accuracy, in (0, 1).

    Returns
    -------
    DataFrame
        With the additional columns accuracy, change, change_low, change_high, verdict. Where the whole network is not
        certainly above chance, each verdict is "cannot be decided". Blocks that were not measured have nan and "".
    """
    measured = (verified.blocks if verified else pd.DataFrame(columns=MEASURED)).set_index("output")
    changes = measured.reindex(blocks["output"])[["accuracy", "change", "low", "high"]].astype(float)
    changes = changes.set_index(blocks.index)
    renamed = changes.rename(columns={"low": "change_low", "high": "change_high"})
    verdict = verdicts(changes, tolerance)
    if verified is not None and not verified.is_above_chance:
        verdict = verdict.where(verdict == NOT_TRIED, UNDECIDED)
    return pd.concat([blocks, renamed], axis=1).assign(verdict=verdict)


def cannot_verify(study: Study) -> str:
    """Return why `verify_blocks` cannot run on a study, as a sentence; "" where it can."""
    if reason := why_no_network(study):
        return f"{reason} So no block can be taken out here."
    if set(study.samples["split"].astype(str)) != {"train", "test"}:
        return "The accuracy without a block needs training and test images. Run the study with --split both."
    return ""


def _largest_units(
    plan: Plan, model: object, rows: NDArray[np.int64], stage: str, progress: Report | None
) -> NDArray[np.int64]:
    """The index of the largest unit of each output of a model, for some of the plan's images."""
    assert plan.network is not None
    size = plan.network.input_size
    return largest_units(
        model,
        lambda batch: plan.images.load(rows[batch], size),
        len(rows),
        batch_size=plan.batch_size,
        progress=progress and (lambda done, total: progress(Progress(stage, done, total, "images"))),
    )


def _class_of_units(units: NDArray[np.int64], labels: NDArray[np.int64], num_units: int) -> NDArray[np.int64]:
    """The label of each unit: the most frequent one, the lowest of equals; -1 where no image has it as its largest."""
    counts = np.zeros((num_units, int(labels.max()) + 1), np.int64)
    np.add.at(counts, (units, labels), 1)
    return np.where(counts.any(axis=1), counts.argmax(axis=1), -1)


def _change(
    whole: NDArray[np.bool_], bypassed: NDArray[np.bool_], labels: NDArray[np.int64], level: float
) -> dict[str, float]:
    """The accuracy without blocks, and its change with a paired interval."""
    rows = np.arange(len(whole))[:, None]  # each prediction depends on its own image only
    change = paired_difference(whole, bypassed, labels, nodes_before=rows, nodes_after=rows)
    low, high = change.interval(level)
    return {"accuracy": float(bypassed.mean()), "change": change.value, "low": low, "high": high}
