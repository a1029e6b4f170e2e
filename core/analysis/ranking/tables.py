"""The tables of a ranking: values of each network and layer, and which networks are certainly worse than the best.

**Choice of a layer.** A network is represented by the layer with the highest SI within the training samples. At these
layers, networks are compared by SI from test to training samples (`cross`). Neither the test images nor their labels
took part in the choice, so a network with many candidate layers has no advantage. Where there is only one split, SI
within it serves both purposes. The highest of many values is then biased upward, so intervals are corrected for all
pairs of candidate layers that could have been chosen, not only for the pairs of networks.

Layers where many samples have several nearest neighbors at the same distance (`core.study.store.tables.ties`) are not
candidates.

**Comparison.** Differences are between values of the same samples, with paired intervals (`core.measures.paired`). The
best network is determined by the values that are compared, so K networks count as K(K − 1)/2 comparisons (Bonferroni):
all intervals hold together with at least 95% confidence. A network is certainly worse where its interval excludes 0;
otherwise it is tied with the best, which is no proof that the two are equal.

After Kalhor et al., arXiv 2012.13717, who rank pre-trained networks by SI, without intervals.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from core.analysis.comparing import compare_layers, layer_values
from core.analysis.separation_level import clearly_above_chance
from core.study.store.opening import Study, StudyError
from core.study.store.tables.ties import LIMIT_TEXT, has_many_ties

LEVEL = 0.95
BEST, TIE, WORSE = "best", "tie", "certainly worse"
_DIFFERENCE = {"difference": "difference", "low": "difference_low", "high": "difference_high"}
_LAYER_PROPERTIES = ("position", "kind", "block", "channels", "parameters", "cumulative_parameters", "num_features")


@dataclass(frozen=True)
class Criterion:
    """The measure and split by which networks are compared, and those by which the layer of each is chosen."""

    measure: str
    split: str
    chosen_by: str
    chosen_in: str
    pooling: str

    @property
    def chosen_separately(self) -> bool:
        """Whether the layer is chosen by other values than those that are compared."""
        return self.measure != self.chosen_by


def choose_criterion(study: Study, pooling: str) -> Criterion:
    """Compare test to train, choosing layers within train, where the study has both splits; else within its split."""
    splits = set(study.samples["split"].astype(str))
    if splits >= {"train", "test"}:
        return Criterion("cross", "test", "separation", "train", pooling)
    (split,) = splits
    return Criterion("separation", split, "separation", split, pooling)


def candidate_table(
    studies: Mapping[str, Study], seconds: Mapping[tuple[str, str], float], criterion: Criterion
) -> pd.DataFrame:
    """Return the table `ranking`, with one row for each network and candidate layer.

    Parameters
    ----------
    studies : mapping
        From network to its study; all of the same samples.
    seconds : mapping
        From network and layer to the seconds that an image takes, where they were measured.
    criterion : Criterion

    Returns
    -------
    DataFrame
        Networks in the order given, layers in network order: network, layer, position, kind, block, channels,
        parameters, cumulative_parameters, num_features; value, low, high, chance of the measure that is compared;
        within, within_low, within_high, within_chance: SI within the split by which layers are chosen; linear_probe;
        seconds; chosen (whether it is the layer of its network); difference to the layer of the best network, with
        the ends of its individual 95% interval, difference_low and difference_high, which are nan for that layer.
    """
    tables = [_network_layers(name, study, criterion) for name, study in studies.items()]
    table = pd.concat(tables, ignore_index=True)
    keys = zip(table["network"], table["layer"], strict=True)
    table["seconds"] = [seconds.get(key, float("nan")) for key in keys]
    highest = table.groupby("network", sort=False)["within"].idxmax()  # the earliest of equals
    table["chosen"] = table.index.isin(highest)
    table[list(_DIFFERENCE.values())] = float("nan")
    best = _best_row(table)
    for name, rows in table.groupby("network", sort=False):
        changes = _compare_with_best(
            studies, criterion, (best["network"], best["layer"]), str(name), list(rows["layer"])
        )
        table.loc[rows.index, list(_DIFFERENCE.values())] = changes[list(_DIFFERENCE)].to_numpy()
    table.loc[best.name, ["difference_low", "difference_high"]] = float("nan")
    return table


def network_table(studies: Mapping[str, Study], layers: pd.DataFrame, criterion: Criterion) -> pd.DataFrame:
    """Return the table `networks`, with one row for each network, the best first.

    Parameters
    ----------
    studies : mapping
        From network to its study; all of the same samples.
    layers : DataFrame
        As returned by `candidate_table`.
    criterion : Criterion

    Returns
    -------
    DataFrame
        rank, network, layer (the chosen one), num_layers (candidates), value, low, high, chance, within, linear_probe,
        cumulative_parameters, seconds; difference to the best with its simultaneous interval, difference_low and
        difference_high; p_value (two-sided, of this comparison alone), p_adjusted (times the number of comparisons, at
        most 1), confidence that it is worse (1 − p_adjusted), meaning: "best", "tie" or "certainly worse". p-values,
        confidence and interval are nan for the best.
    """
    table = layers[layers["chosen"]].sort_values("value", ascending=False, kind="stable", ignore_index=True)
    facts = ["value", "low", "high", "chance", "within", "linear_probe", "cumulative_parameters", "seconds"]
    table = table[["network", "layer", *facts]]
    table.insert(0, "rank", table["value"].rank(method="min", ascending=False).astype(int))
    table.insert(3, "num_layers", table["network"].map(layers["network"].value_counts()))
    comparisons, best = num_comparisons(layers, criterion), table.iloc[0]
    level = 1 - (1 - LEVEL) / comparisons
    rows = [{"difference": 0.0, "verdict": BEST}]
    for name, layer in zip(table["network"][1:], table["layer"][1:], strict=True):
        change = _compare_with_best(studies, criterion, (best["network"], best["layer"]), name, [layer], level)
        rows.append(_verdict(change.iloc[0], comparisons))
    columns = ["difference", "difference_low", "difference_high", "p_value", "p_adjusted", "confidence", "verdict"]
    return table.join(pd.DataFrame(rows, columns=columns))


def reason_to_leave_out(study: Study, criterion: Criterion) -> str:
    """Return why nothing can be concluded from any layer of a network, to follow its name; "" where something can."""
    if _compared_values(study, criterion)["value"].isna().all():
        return "must have a layer with values; it has none, and its study says why"
    if _candidate_values(study, criterion).empty:
        return (
            f"must have a layer where at most {LIMIT_TEXT} of the samples have several nearest neighbors at the same "
            "distance; it has none, so its SI depends on the order of the samples"
        )
    return ""


def num_comparisons(layers: pd.DataFrame, criterion: Criterion) -> int:
    """Return the number of comparisons to correct for.

    These are all pairs of networks or, where the compared values also choose the layers, all pairs of candidate layers
    of different networks.

    Parameters
    ----------
    layers : DataFrame
        As returned by `candidate_table`.
    criterion : Criterion
    """
    counts = layers["network"].value_counts()
    if criterion.chosen_separately:
        return len(counts) * (len(counts) - 1) // 2
    return sum(int(first * second) for first, second in combinations(counts, 2))


def _network_layers(name: str, study: Study, criterion: Criterion) -> pd.DataFrame:
    """Properties and values of a network's candidate layers."""
    within = _choosing_values(study, criterion).add_prefix("within_")
    properties = study.layers.set_index("layer")[list(_LAYER_PROPERTIES)].astype({"kind": object, "block": object})
    value = _candidate_values(study, criterion).drop(columns=["num_queries", "num_tied"])
    table = value.join(within.rename(columns={"within_value": "within"})).join(properties)
    table["linear_probe"] = _probe_accuracy(study, criterion.split).reindex(table.index)
    columns = ["network", "layer", *_LAYER_PROPERTIES, *value.columns]
    columns += ["within", "within_low", "within_high", "within_chance", "linear_probe"]
    return table.reset_index().assign(network=name)[columns]


def _candidate_values(study: Study, criterion: Criterion) -> pd.DataFrame:
    """The compared values, without layers that have none, or many tied samples in either of the two measures."""
    value = _compared_values(study, criterion).dropna(subset=["value"])
    within = _choosing_values(study, criterion).reindex(value.index)
    return value[~(has_many_ties(value) | has_many_ties(within))]


def _compared_values(study: Study, criterion: Criterion) -> pd.DataFrame:
    return _values(study, criterion.measure, criterion.split, criterion.pooling)


def _choosing_values(study: Study, criterion: Criterion) -> pd.DataFrame:
    return _values(study, criterion.chosen_by, criterion.chosen_in, criterion.pooling)


def _values(study: Study, measure: str, split: str, pooling: str) -> pd.DataFrame:
    """Value, low, high, num_queries, num_tied and chance, indexed by layer."""
    values = layer_values(study, measure=measure, pooling=pooling, split=split)
    values = values[["value", "low", "high", "num_queries", "num_tied"]]
    rows = study.measurements
    rows = rows[(rows["measure"] == measure) & (rows["split"] == split) & (rows["repeat"] == 0)]
    return values.assign(chance=float(rows["chance"].iloc[0]))


def _probe_accuracy(study: Study, split: str) -> pd.Series:
    """Accuracy of the linear probe by layer: of test samples after training on train, where there are both splits."""
    rows = study.measurements
    rows = rows[(rows["measure"] == "linear_probe") & (rows["split"] == split) & (rows["repeat"] == 0)]
    return rows.astype({"layer": object}).drop_duplicates("layer").set_index("layer")["value"]


def _best_row(table: pd.DataFrame) -> pd.Series:
    """The chosen layer with the highest value."""
    return table[table["chosen"]].sort_values("value", ascending=False, kind="stable").iloc[0]


def _compare_with_best(
    studies: Mapping[str, Study],
    criterion: Criterion,
    best: tuple[str, str],
    name: str,
    layers: list[str],
    level: float = LEVEL,
) -> pd.DataFrame:
    """Compare each of a network's layers with the layer of the best network, all with paired intervals."""
    table = compare_layers(
        studies[best[0]],
        studies[name],
        [(best[1], layer) for layer in layers],
        measure=criterion.measure,
        pooling=criterion.pooling,
        split=criterion.split,
        level=level,
    )
    if not table["paired"].all():
        raise StudyError(
            f"The studies of {best[0]} and {name} must store the nearest neighbors of the same samples. Rank them in "
            "an empty folder."
        )
    return table


def _verdict(change: pd.Series, comparisons: int) -> dict[str, object]:
    """Return what `network_table` says of a network beside the best, from a row of `compare_layers`."""
    adjusted = min(1.0, comparisons * change["p_value"])
    is_worse = adjusted < 1 - LEVEL and change["difference"] < 0
    return {
        **{name: change[column] for column, name in _DIFFERENCE.items()},
        "p_value": change["p_value"],
        "p_adjusted": adjusted,
        "confidence": 1 - adjusted,
        "verdict": WORSE if is_worse else TIE,
    }


def at_chance_text(networks: pd.DataFrame, num_samples: int) -> str:
    """Return which networks are not clearly above chance, as a phrase; "" where all are.

    Parameters
    ----------
    networks : DataFrame
        As returned by `network_table`.
    num_samples : int
        Number of samples from which the values are computed.
    """
    clear = clearly_above_chance(networks.assign(num_queries=num_samples))
    if clear.all():
        return ""
    names = ", ".join(networks["network"][~clear])
    if clear.any():
        return f"not clearly above chance: {names}"
    return f"no network is clearly above chance ({names}): nothing follows from their order"
