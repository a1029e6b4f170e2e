"""The loss of SI that a cut causes in each class, because a mean over all classes can hide a large loss in one of them.

The difference of each class is paired on its own samples. Classes have few samples, and the intervals of all classes
must hold together, so each has a high level. Under these conditions a normal interval is too short; exact bounds are
used instead.
"""

import numpy as np
import pandas as pd

from core.analysis.cut.advice import Advice
from core.analysis.samples.neighborhoods import read_nearest
from core.measures.noninferiority import LEVEL
from core.measures.paired import paired_difference
from core.study.store.opening import Study
from core.study.store.tables.class_names import sample_classes, short_classes

COLUMNS = ["class_name", "num_samples", "difference", "low", "high"]


def class_differences(study: Study, advice: Advice, layer: str) -> pd.DataFrame:
    """Return each class's SI at a layer minus that at the best layer, on the same samples.

    Parameters
    ----------
    study : Study
    advice : Advice
        The advice on the study, which names the best layer.
    layer : str
        One of the candidates.

    Returns
    -------
    DataFrame
        One row a class, the largest loss first: class_name, num_samples, difference, low, high; the intervals of all
        classes hold together with 95% (Bonferroni). Empty where the study stores no neighbors of both layers.
    """
    split, among = ("test", "train") if advice.measure == "cross" else (advice.split, advice.split)
    nearest = read_nearest(study, [advice.best, layer], advice.pooling, split, among=among)
    best, cut = nearest.get(advice.best), nearest.get(layer)
    if best is None or cut is None or not np.array_equal(best["sample"], cut["sample"]):
        return pd.DataFrame(columns=COLUMNS)
    all_classes = sample_classes(study.samples)
    classes = best["sample"].map(all_classes.map(short_classes(all_classes))).to_numpy(object)
    codes, names = pd.factorize(classes, sort=True)
    level = 1 - (1 - LEVEL) / len(names)
    samples_by_class = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    agrees = [table["same_label"].to_numpy() for table in (best, cut)]
    nodes = [table[["sample", "nearest"]].to_numpy() for table in (best, cut)]
    rows = []
    for name, samples in zip(names, samples_by_class, strict=True):
        difference = paired_difference(
            agrees[0][samples],
            agrees[1][samples],
            np.zeros(len(samples), dtype=int),  # all of one class
            nodes_before=nodes[0][samples],
            nodes_after=nodes[1][samples],
        )
        rows.append((str(name), len(samples), difference.value, *difference.exact_interval(level)))
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values(["difference", "high", "class_name"], ignore_index=True)
