"""Blocks of a network: how SI changes across each, and the accuracy of the network without it.

SI does not tell which blocks a network can do without: early blocks may prepare what later ones separate, and of 18
residual blocks that were tried out, a flat SI named the right ones 11 times. So a residual block is taken out for a
test, its shortcut going on in place of its sum, and the accuracy is measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from core.analysis.comparing import compare_layers, layer_values
from core.measures.noninferiority import verdicts_of
from core.measures.paired import paired_difference
from core.measures.significance import wilson
from core.network.cutting import bypass_blocks, largest_units, residual_layers
from core.study.plan import PIXELS, Plan, Progress, Report
from core.study.store.opening import Study, StudyError

TOLERANCE = 0.01  # of accuracy
NOT_WORSE, WORSE, UNDECIDED, NOT_TRIED = "not worse", "worse", "cannot be decided", ""
_WORDS = {"within": NOT_WORSE, "worse": WORSE, "undecided": UNDECIDED}  # for the verdicts of intervals
MEASURED = ["block", "output", "accuracy", "change", "low", "high"]


@dataclass(frozen=True)
class Together:
    """Blocks that are not worse alone, taken out all at once. tolerance : by which they were chosen."""

    blocks: tuple[str, ...]
    tolerance: float
    accuracy: float
    change: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Verified:
    """Residual blocks, each taken out alone from the network that the rest of it was trained with.

    Attributes
    ----------
    accuracy
        Of the whole network, on the test images.
    num_test
        Test images.
    level
        Of the intervals, so that all of them together hold with 95 %: 1 − 0.05 / number of blocks.
    blocks
        One row a block that could be taken out, with the columns `MEASURED`: accuracy (without it), change (that minus
        the accuracy of the whole network), low, high (its interval, paired on the same images).
    together
        Those not worse, taken out at once; None where they are fewer than two.
    chance
        The accuracy of naming the most frequent class of the test images for each of them; nan where unknown.
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

        A network that knows nothing of the classes is worse without none of its blocks, which says nothing of them.
        """
        return not wilson(self.accuracy, self.num_test)[0] <= self.chance


def separation_across_blocks(
    study: Study, *, split: str = "test", pooling: str = "mean", measure: str = "separation"
) -> pd.DataFrame:
    """How much SI changes across each block of a study's network, from its tables alone.

    It describes a block, and is no reason to take it out: `verify_blocks` measures what that costs.

    A block reaches from the last layer with space that was measured before it to its own last one. Where the layer
    before is a convolution whose batch normalization comes after it, SI before the block is that of the convolution.

    Returns
    -------
    DataFrame
        One row a block, in network order: block, input, output (layers); before, after, difference, low, high, paired
        (95 % interval of the difference); parameters (from input to output), parameters_share (of those up to the
        deepest layer measured).

    Raises
    ------
    StudyError
        The study lacks the measure, or knows no blocks.
    """
    values = layer_values(study, measure=measure, pooling=pooling, split=split)
    values = values[values["value"].notna()]  # layers without a value, of which the study says why, end no block
    layers = study.layers.set_index("layer")
    spatial = [layer for layer in values.index if len(layers["output_shape"][layer]) > 1]
    ends = {str(layers["block"][layer]): layer for layer in spatial}  # the last layer of each block
    outputs = sorted(ends.values(), key=lambda layer: values["position"][layer])
    if len(outputs) < 2:
        raise StudyError(
            f"The study in {study.path} must have layers of at least two blocks; got {len(outputs)}. "
            "Features have none; of a network, measure --layers main."
        )
    pairs = list(pairwise(outputs))
    table = compare_layers(study, study, pairs, measure=measure, pooling=pooling, split=split)
    cumulative = layers["cumulative_parameters"].astype(float)
    parameters = cumulative[outputs].diff().to_numpy()[1:]
    return pd.DataFrame(
        {
            "block": [str(layers["block"][output]) for output in outputs[1:]],
            "input": table["layer_before"],
            "output": table["layer"],
            **{name: table[name] for name in ("before", "after", "difference", "low", "high", "paired")},
            "parameters": parameters,
            "parameters_share": parameters / cumulative.max(),
        }
    )


def verify_blocks(
    plan: Plan, blocks: pd.DataFrame, *, tolerance: float = TOLERANCE, progress: Report | None = None
) -> Verified:
    """Take each residual block out of the network and measure the accuracy of what is left on the test images.

    Nothing is trained again. Which class a unit of the network's head stands for is learned from the training images:
    the class whose images have it as their largest unit most often. So a head of other classes, such as ImageNet's, can
    be judged on classes that are among its own.

    Parameters
    ----------
    plan : of the study, as `core.study.reopening.reopen_plan` gives it; with training and test images.
    blocks : what `separation_across_blocks` gives. Blocks that do not end in a sum of their input are left out.
    tolerance : blocks that are not worse by more than that are taken out together, too.
    progress : told how many images are done.

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
        raise StudyError("Verifying needs training and test images. Run the study with --split both.")
    residual = blocks[blocks["output"].isin(residual_layers(model))].reset_index(drop=True)
    if residual.empty:
        raise StudyError("None of the blocks ends in a sum that its input goes into: nothing can be bypassed.")
    train, test = samples.rows("train"), samples.rows("test")
    units = _units(plan, model, train, "naming the training images", progress)[0]
    class_of = _class_of_units(units, samples.labels[train], num_units=model.outputs[0].shape[-1])

    def correct_without(groups: Sequence[Sequence[str]], stage: str) -> NDArray[np.bool_]:
        """Whether each test image is named right: by the whole network, then without each group of blocks."""
        values: NDArray[np.bool_] = (
            class_of[_units(plan, bypass_blocks(model, groups), test, stage, progress)] == samples.labels[test]
        )
        return values

    level = 1 - 0.05 / len(residual)
    correct = correct_without([[layer] for layer in residual["output"]], "without each block")
    changes = pd.DataFrame([_change(correct[0], without, samples.labels[test], level) for without in correct[1:]])
    measured = pd.concat([residual[["block", "output"]], changes], axis=1)[MEASURED]
    together = None
    chance = most_frequent_share(samples.labels[test])
    whole_network = Verified(float(correct[0].mean()), len(test), level, measured, chance=chance)
    harmless = measured[verdicts(measured, tolerance) == NOT_WORSE]
    if len(harmless) > 1 and whole_network.is_above_chance:
        whole, without = correct_without([harmless["output"].tolist()], "without all that are not worse")
        change = _change(whole, without, samples.labels[test], level)
        together = Together(tuple(harmless["block"]), tolerance, **change)
    return replace(whole_network, together=together)


def most_frequent_share(labels: ArrayLike) -> float:
    """The share of the most frequent class."""
    return float(np.unique(np.asarray(labels), return_counts=True)[1].max() / len(np.asarray(labels)))


def verdicts(measured: pd.DataFrame, tolerance: float) -> pd.Series:
    """What the intervals say of each block.

    Parameters
    ----------
    measured : low and high, the interval of the change of accuracy without a block; nan where it was not measured.
    tolerance : of accuracy, in (0, 1).

    Returns
    -------
    Series of str
        "not worse" (by more than the tolerance) where low lies above −tolerance, "worse" where high lies below it,
        else "cannot be decided"; "" where nothing was measured.
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance must lie between 0 and 1; got {tolerance}. 0.01 is one point of accuracy.")
    verdict = pd.Series(verdicts_of(measured["low"], measured["high"], tolerance), measured.index, dtype=object)
    return verdict.map(_WORDS).where(measured["low"].notna(), NOT_TRIED)


def with_verified(blocks: pd.DataFrame, verified: Verified | None, tolerance: float = TOLERANCE) -> pd.DataFrame:
    """The rows of `separation_across_blocks`, and what was measured of each.

    Returns
    -------
    DataFrame
        Added: accuracy, change, change_low, change_high, verdict (of `verdicts`; none can be decided where the whole
        network is not certainly above chance); nan and "" where it was not measured.
    """
    measured = (verified.blocks if verified else pd.DataFrame(columns=MEASURED)).set_index("output")
    found = measured.reindex(blocks["output"])[["accuracy", "change", "low", "high"]].astype(float)
    found = found.set_index(blocks.index)
    renamed = found.rename(columns={"low": "change_low", "high": "change_high"})
    verdict = verdicts(found, tolerance)
    if verified is not None and not verified.is_above_chance:
        verdict = verdict.where(verdict == NOT_TRIED, UNDECIDED)
    return pd.concat([blocks, renamed], axis=1).assign(verdict=verdict)


def cannot_verify(study: Study) -> str:
    """Why `verify_blocks` cannot be asked about a study, as a sentence; "" where it can."""
    asked = study.info.get("asked", {})
    if asked.get("model", PIXELS) == PIXELS or "data" not in asked:
        return "The study was made from features or from pixels: it has no network to take blocks out of."
    if set(study.samples["split"].astype(str)) != {"train", "test"}:
        return "Accuracy without a block takes training and test images: run the study with --split both."
    return ""


def _units(
    plan: Plan, model: object, rows: NDArray[np.int64], stage: str, progress: Report | None
) -> NDArray[np.int64]:
    """The largest unit of each output on some of the plan's images."""
    assert plan.network is not None
    size = plan.network.input_size
    return largest_units(
        model,
        lambda places: plan.images.load(rows[places], size),
        len(rows),
        batch_size=plan.options.batch_size,
        progress=progress and (lambda done, total: progress(Progress(stage, done, total, "images"))),
    )


def _class_of_units(units: NDArray[np.int64], labels: NDArray[np.int64], num_units: int) -> NDArray[np.int64]:
    """The label that each unit stands for, -1 where no image has it as its largest; the lowest of equals."""
    counts = np.zeros((num_units, int(labels.max()) + 1), np.int64)
    np.add.at(counts, (units, labels), 1)
    return np.where(counts.any(axis=1), counts.argmax(axis=1), -1)


def _change(
    whole: NDArray[np.bool_], bypassed: NDArray[np.bool_], labels: NDArray[np.int64], level: float
) -> dict[str, float]:
    """What taking blocks out does to accuracy, on the same images."""
    own = np.arange(len(whole))[:, None]
    change = paired_difference(whole, bypassed, labels, nodes_before=own, nodes_after=own)
    low, high = change.interval(level)
    return {"accuracy": float(bypassed.mean()), "change": change.value, "low": low, "high": high}
