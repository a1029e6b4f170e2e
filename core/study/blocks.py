"""Blocks that may be redundant: SI does not certainly rise across them. And whether that is so, tried out.

A block is redundant by this advice where the 95 % interval of SI behind it minus SI before it, paired on the same
samples, does not lie above 0. A residual block can be taken out for a test: its shortcut goes on in place of its sum.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.measures.paired import paired_difference
from core.network.cutting import bypass_blocks, largest_units, residual_layers
from core.study.comparing import compare_layers, measured_layers
from core.study.plan import Plan, Progress, Report
from core.study.results import Study, StudyError

HARMLESS = 0.01  # of accuracy: a bypass that costs at most one point


@dataclass(frozen=True, eq=False)
class Verified:
    """Residual blocks, each taken out alone from the network that the rest of it was trained with.

    Attributes
    ----------
    accuracy
        Of the whole network, on the test images.
    num_test
        Test images.
    blocks
        The rows of `redundant_blocks` that could be verified, and: bypassed (accuracy without the block), change
        (bypassed minus accuracy), change_low, change_high (its 95 % interval, paired on the same images), harmless
        (accuracy falls by at most 0.01), right (whether the advice said so: redundant and harmless, or neither).
    together
        The same with all redundant ones of these taken out at once, and with all others: redundant, num_blocks,
        parameters, bypassed, change, change_low, change_high. A group of less than two is left out.
    """

    accuracy: float
    num_test: int
    blocks: pd.DataFrame
    together: pd.DataFrame


def redundant_blocks(
    study: Study, *, split: str = "test", pooling: str = "mean", measure: str = "separation"
) -> pd.DataFrame:
    """How much SI rises across each block of a study's network, from its tables alone.

    A block reaches from the last layer with space that was measured before it to its own last one. Where the layer
    before is a convolution whose batch normalization comes after it, SI before the block is that of the convolution.

    Returns
    -------
    DataFrame
        One row a block, in network order: block, input, output (layers); before, after, difference, low, high, paired;
        redundant (SI does not certainly rise); parameters (from input to output), parameters_share (of those up to the
        deepest layer measured).

    Raises
    ------
    StudyError
        The study lacks the measure, or knows no blocks.
    """
    values = measured_layers(study, measure=measure, pooling=pooling, split=split)
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
            "redundant": table["low"] <= 0,
            "parameters": parameters,
            "parameters_share": parameters / cumulative.max(),
        }
    )


def verify_blocks(plan: Plan, blocks: pd.DataFrame, *, progress: Report | None = None) -> Verified:
    """Take each residual block out of the network and measure the accuracy of what is left on the test images.

    Nothing is trained again. Which class a unit of the network's head stands for is learned from the training images:
    the class whose images have it as their largest unit most often. So a head of other classes, such as ImageNet's, can
    be judged on classes that are among its own.

    Parameters
    ----------
    plan : of the study, as `core.study.reopening.reopen_plan` gives it; with training and test images.
    blocks : what `redundant_blocks` gives. Blocks that do not end in a sum of their input are left out.
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
    residual = residual_layers(model)
    found = blocks[blocks["output"].isin(residual)].reset_index(drop=True)
    if found.empty:
        raise StudyError("None of the blocks ends in a sum that its input goes into: nothing can be bypassed.")
    train, test = samples.rows("train"), samples.rows("test")
    units = _units(plan, model, train, "naming the training images", progress)[0]
    class_of = _class_of_units(units, samples.labels[train], num_units=model.outputs[0].shape[-1])
    together = [part for _, part in found.groupby("redundant", sort=False) if len(part) > 1]
    groups = [[layer] for layer in found["output"]] + [part["output"].tolist() for part in together]
    units = _units(plan, bypass_blocks(model, groups), test, "without each block", progress)
    named = class_of[units] == samples.labels[test]
    rows = [_change(named[0], correct, samples.labels[test]) for correct in named[1:]]
    table = pd.concat([found, pd.DataFrame(rows[: len(found)])], axis=1)
    table = table.assign(harmless=table["change"] >= -HARMLESS)
    table = table.assign(right=table["redundant"] == table["harmless"])
    merged = [_merged(part) | row for part, row in zip(together, rows[len(found) :], strict=True)]
    return Verified(float(named[0].mean()), len(test), table, pd.DataFrame(merged))


def _merged(part: pd.DataFrame) -> dict[str, object]:
    """What a group of blocks is."""
    size = float(part["parameters"].sum())
    return {"redundant": bool(part["redundant"].iloc[0]), "num_blocks": len(part), "parameters": size}


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


def _change(whole: NDArray[np.bool_], bypassed: NDArray[np.bool_], labels: NDArray[np.int64]) -> dict[str, object]:
    """What taking a block out does to accuracy, on the same images."""
    own = np.arange(len(whole))[:, None]
    change = paired_difference(whole, bypassed, labels, nodes_before=own, nodes_after=own)
    low, high = change.interval()
    return {
        "bypassed": float(bypassed.mean()),
        "change": change.value,
        "change_low": low,
        "change_high": high,
    }
