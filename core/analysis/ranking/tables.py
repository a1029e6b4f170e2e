"""What a ranking says of studies of the same samples, one a network: values, differences, and who is certainly worse.

**Which layer.** A network is judged by one layer, that with the highest SI within the training samples. Then networks
are compared by the SI from test to training samples (`cross`) at these layers. Neither the test images nor their labels
took part in the choice, so many candidate layers are no head start. Where there is one split only, the SI within it
does both. The best of many values is then too good, so the comparison pays for it: it is corrected for all pairs of
candidate layers that could have been chosen, not only for the pairs of networks.

Layers where many samples have several nearest neighbors at the same distance (`core.study.store.ties`) are no
candidates.

**Who is worse.** Each difference is of the same samples, its interval paired (`core.measures.paired`). The best network
is itself found by the values that are compared, so K networks count as K(K − 1)/2 comparisons (Bonferroni): intervals
are simultaneous, all of them hold at once with 95 % confidence or more. A network is certainly worse where its interval
leaves out 0; otherwise it is tied with the best. A tie is no proof that two networks are equal.
After Kalhor et al., arXiv 2012.13717, who rank pre-trained networks by SI, without intervals.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from core.analysis.comparing import compare_layers, layer_values
from core.analysis.separation_level import clearly_above_chance
from core.study.store.opening import Study, StudyError
from core.study.store.ties import LIMIT_TEXT, has_many_ties

LEVEL = 0.95
BEST, TIE, WORSE = "best", "tie", "certainly worse"
_DIFFERENCE = {"difference": "difference", "low": "difference_low", "high": "difference_high"}
_LAYER_FACTS = ("position", "kind", "block", "channels", "parameters", "cumulative_parameters", "num_features")


@dataclass(frozen=True)
class Judged:
    """What networks are compared by, and what chooses the layer of each: a measure and the split that it speaks of."""

    measure: str
    split: str
    chosen_by: str
    chosen_in: str
    pooling: str

    @property
    def apart(self) -> bool:
        """Whether the layer is chosen by other values than those compared."""
        return self.measure != self.chosen_by


def judged_by(study: Study, pooling: str) -> Judged:
    """Test to train, chosen within train, where the samples have both splits; else within the one there is."""
    splits = set(study.samples["split"].astype(str))
    if splits >= {"train", "test"}:
        return Judged("cross", "test", "separation", "train", pooling)
    (split,) = splits
    return Judged("separation", split, "separation", split, pooling)


def layer_table(studies: Mapping[str, Study], seconds: Mapping[tuple[str, str], float], judged: Judged) -> pd.DataFrame:
    """The table `ranking`: one row a network and candidate layer, networks in the order given, layers in network order.

    Parameters
    ----------
    studies : by network, of the same samples.
    seconds : an image, by network and layer, where it was measured.

    Returns
    -------
    DataFrame
        network, layer, position, kind, block, channels, parameters, cumulative_parameters, num_features; value, low,
        high, chance of the measure compared; within, within_low, within_high, within_chance of SI within the split that
        chooses; linear_probe; seconds; chosen: whether it is its network's layer; difference to the best network's
        layer with difference_low and difference_high, 95 % each for itself; nan for that layer.
    """
    table = pd.concat([_layers(name, study, judged) for name, study in studies.items()], ignore_index=True)
    places = zip(table["network"], table["layer"], strict=True)
    table["seconds"] = [seconds.get(place, float("nan")) for place in places]
    highest = table.groupby("network", sort=False)["within"].idxmax()  # the earliest of equals
    table["chosen"] = table.index.isin(highest)
    table[list(_DIFFERENCE.values())] = float("nan")
    best = _best(table)
    for name, rows in table.groupby("network", sort=False):
        found = _against(studies, judged, (best["network"], best["layer"]), str(name), list(rows["layer"]))
        table.loc[rows.index, list(_DIFFERENCE.values())] = found[list(_DIFFERENCE)].to_numpy()
    table.loc[best.name, ["difference_low", "difference_high"]] = float("nan")
    return table


def network_table(studies: Mapping[str, Study], layers: pd.DataFrame, judged: Judged) -> pd.DataFrame:
    """The table `networks`: one row a network, the best first.

    Parameters
    ----------
    studies : by network, of the same samples.
    layers : the table of `layer_table`.

    Returns
    -------
    DataFrame
        rank, network, layer (its chosen one), num_layers (candidates), value, low, high, chance, within, linear_probe,
        cumulative_parameters, seconds; difference to the best with simultaneous difference_low and difference_high;
        p_value (two-sided, of this comparison alone), p_adjusted (times the number of comparisons), confidence
        (1 − p_adjusted, that it is worse), meaning: "best", "tie" or "certainly worse". p, confidence and interval are
        nan for the best.
    """
    table = layers[layers["chosen"]].sort_values("value", ascending=False, kind="stable", ignore_index=True)
    facts = ["value", "low", "high", "chance", "within", "linear_probe", "cumulative_parameters", "seconds"]
    table = table[["network", "layer", *facts]]
    table.insert(0, "rank", table["value"].rank(method="min", ascending=False).astype(int))
    table.insert(3, "num_layers", table["network"].map(layers["network"].value_counts()))
    comparisons, best = num_comparisons(layers, judged), table.iloc[0]
    rows = [{"difference": 0.0, "meaning": BEST}]
    for name, layer in zip(table["network"][1:], table["layer"][1:], strict=True):
        level = 1 - (1 - LEVEL) / comparisons
        found = _against(studies, judged, (best["network"], best["layer"]), name, [layer], level)
        rows.append(_compared(found.iloc[0], comparisons))
    columns = ["difference", "difference_low", "difference_high", "p_value", "p_adjusted", "confidence", "meaning"]
    return table.join(pd.DataFrame(rows, columns=columns))


def nothing_to_judge(study: Study, judged: Judged) -> str:
    """Why nothing can be concluded from any layer of a network, to go on after its name; "" where it can."""
    if _values(study, judged.measure, judged.split, judged.pooling)["value"].isna().all():
        return "must have a layer with values; it has none, and its study says why"
    if _judged_values(study, judged).empty:
        return (
            f"must have a layer where at most {LIMIT_TEXT} of the samples have several nearest neighbors at the same "
            "distance; it has none, so that its SI depends on the order of the samples"
        )
    return ""


def num_comparisons(layers: pd.DataFrame, judged: Judged) -> int:
    """Comparisons that the 95 % are shared among: pairs of networks, or of their layers where the values choose."""
    counts = layers["network"].value_counts()
    return sum(1 if judged.apart else int(one * other) for one, other in combinations(counts, 2))


def _layers(name: str, study: Study, judged: Judged) -> pd.DataFrame:
    """Facts and values of a network's layers, but for those with many tied samples, from which nothing is concluded."""
    within = _values(study, judged.chosen_by, judged.chosen_in, judged.pooling).add_prefix("within_")
    facts = study.layers.set_index("layer")[list(_LAYER_FACTS)].astype({"kind": object, "block": object})
    value = _judged_values(study, judged).drop(columns=["num_queries", "num_tied"])
    table = value.join(within.rename(columns={"within_value": "within"})).join(facts)
    table["linear_probe"] = _probe(study, judged.split).reindex(table.index)
    order = ["layer", *_LAYER_FACTS, *value.columns, "within", "within_low", "within_high", "within_chance"]
    return table.reset_index()[[*order, "linear_probe"]].assign(network=name)[["network", *order, "linear_probe"]]


def _judged_values(study: Study, judged: Judged) -> pd.DataFrame:
    """The rows of `_values` of the measure compared, without layers that have many tied samples, in either measure."""
    value = _values(study, judged.measure, judged.split, judged.pooling).dropna(subset=["value"])
    within = _values(study, judged.chosen_by, judged.chosen_in, judged.pooling).reindex(value.index)
    return value[~(has_many_ties(value) | has_many_ties(within))]


def _values(study: Study, measure: str, split: str, pooling: str) -> pd.DataFrame:
    """Value, low, high, chance and what tells ties, indexed by layer."""
    found = layer_values(study, measure=measure, pooling=pooling, split=split)
    found = found[["value", "low", "high", "num_queries", "num_tied"]]
    rows = study.measurements
    rows = rows[(rows["measure"] == measure) & (rows["split"] == split) & (rows["repeat"] == 0)]
    return found.assign(chance=float(rows["chance"].iloc[0]))


def _probe(study: Study, split: str) -> pd.Series:
    """Accuracy of the linear probe by layer: trained on train and asked about test, where there are both."""
    rows = study.measurements
    rows = rows[(rows["measure"] == "linear_probe") & (rows["split"] == split) & (rows["repeat"] == 0)]
    return rows.astype({"layer": object}).drop_duplicates("layer").set_index("layer")["value"]


def _best(table: pd.DataFrame) -> pd.Series:
    return table[table["chosen"]].sort_values("value", ascending=False, kind="stable").iloc[0]


def _against(
    studies: Mapping[str, Study],
    judged: Judged,
    best: tuple[str, str],
    name: str,
    layers: list[str],
    level: float = LEVEL,
) -> pd.DataFrame:
    """Each of a network's layers against the best network's, all of them paired."""
    table = compare_layers(
        studies[best[0]],
        studies[name],
        [(best[1], layer) for layer in layers],
        measure=judged.measure,
        pooling=judged.pooling,
        split=judged.split,
        level=level,
    )
    if not table["paired"].all():
        raise StudyError(
            f"The studies of {best[0]} and {name} must store the nearest neighbors of the same samples. Rank them in "
            "an empty folder."
        )
    return table


def _compared(found: pd.Series, comparisons: int) -> dict[str, object]:
    """A network against the best: p for all comparisons together, and what it means."""
    adjusted = min(1.0, comparisons * found["p_value"])
    return {
        **{name: found[column] for column, name in _DIFFERENCE.items()},
        "p_value": found["p_value"],
        "p_adjusted": adjusted,
        "confidence": 1 - adjusted,
        "meaning": WORSE if adjusted < 1 - LEVEL and found["difference"] < 0 else TIE,
    }


def at_chance_text(networks: pd.DataFrame, num_samples: int) -> str:
    """Which networks are not clearly above chance, by the rule of `core.report.words.findings`; "" where all are.

    networks : the table of a ranking. num_samples : behind its values.
    """
    clear = clearly_above_chance(networks.assign(num_queries=num_samples))
    if clear.all():
        return ""
    names = ", ".join(networks["network"][~clear])
    if clear.any():
        return f"not clearly above chance: {names}"
    return f"no network is clearly above chance ({names}): nothing follows from their order"
