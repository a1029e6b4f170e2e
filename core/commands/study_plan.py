"""The dry run of `python -m core study`: what would be computed, here or on a cluster, and what it would cost."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from core.cluster.estimate import ClusterSize, cluster_search_cost, cluster_size
from core.data.sampling import counted
from core.network.passes import Pass
from core.study.costs import FORWARD_SHARE, Cost, map_cost, pass_cost, plan_cost, product_rate
from core.study.durations import in_words
from core.study.exactness import EXACT_HOURS, choice
from core.study.plan import Plan


@dataclass(frozen=True)
class _Estimate:
    """Where and how a plan would be computed.

    summary : of what is particular to the place, for machines. lines : the same for people.
    cost : of the plan, by precision. rate : operations a second of large products, in all; `measured` says of what.
    """

    summary: dict[str, Any]
    lines: list[str]
    cost: Callable[[float | None], Cost]
    rate: float
    measured: str


def print_plan(plan: Plan, cluster: str | None, *, as_json: bool) -> None:
    """Print what a plan would do. cluster : the address of a cluster, where one shall compute it."""
    estimate = _here(plan) if cluster is None else _on_cluster(plan, cluster_size(cluster))
    of_map = map_cost(plan)
    seconds = estimate.cost(plan.options.precision).seconds(estimate.rate) + of_map.seconds
    offered = choice(plan, estimate.cost, lambda: estimate.rate)
    splits = {split: len(plan.samples.rows(split)) for split in plan.samples.split_names}
    if as_json:
        common = {
            "samples": len(plan.samples),
            "splits": splits,
            "classes": len(plan.samples.class_names),
            "layers": [layer.layer for layer in plan.layers],
            "poolings": list(plan.poolings),
            "notes": list(plan.notes),
        }
        cost = {"map": asdict(of_map), "estimated_s": seconds, "choice": None if offered is None else asdict(offered)}
        print(json.dumps(common | estimate.summary | cost, indent=1))
        return
    counts = ", ".join(f"{count:,} {split}" for split, count in splits.items())
    print(f"{len(plan.samples):,} samples ({counts}) of {len(plan.samples.class_names)} classes")
    print(*estimate.lines, sep="\n")
    if of_map.num_layers:
        print(
            f"map of the samples: {counted(of_map.num_layers, 'layer')}, about {in_words(of_map.seconds)} in one "
            f"thread, after measuring; {_mebibytes(of_map.num_bytes)} on disk until it is done"
        )
    print(
        f"expected time: about {in_words(seconds)}. An estimate: products at {estimate.measured}, the network at "
        f"{FORWARD_SHARE:.0%} of it; baselines not included."
    )
    if offered:
        print(f"Its exact search takes more than {EXACT_HOURS:.0f} h, so one is to be chosen. {offered.sentence()}.")


def _here(plan: Plan) -> _Estimate:
    passes, rate = plan.passes(), product_rate()
    costs = [pass_cost(plan, part, plan.options.precision) for part in passes]
    rows = [_pass_row(part, cost) for part, cost in zip(passes, costs, strict=True)]
    layers, runs = counted(len(plan.layers), "layer"), counted(len(passes), "pass", "passes")
    columns = "layers, activations, operations of the network + of the search"
    lines = [f"{layers}, {_poolings(plan)}, in {runs} over the images ({columns}):"]
    for number, (part, cost) in enumerate(zip(passes, costs, strict=True), start=1):
        lines.append(f"  pass {number}: {_pass_line(part, cost)}")
    lines.append(f"memory for the activations of a pass: {_mebibytes(plan.budget_bytes)}")
    return _Estimate(
        {"passes": rows, "budget_bytes": plan.budget_bytes},
        lines,
        partial(plan_cost, plan),
        rate,
        f"the {rate / 1e9:,.0f} GFLOP/s measured now",
    )


def _on_cluster(plan: Plan, size: ClusterSize) -> _Estimate:
    from core.cluster.extraction import num_shards  # which needs the extra `cluster`

    search = cluster_search_cost(plan, plan.options.precision, workers=size.workers, worker_memory=size.worker_memory)
    shards = num_shards(plan, num_workers=size.workers, worker_memory=size.worker_memory)
    forward = plan_cost(plan, plan.options.precision).forward_flop
    lines = [
        f"{counted(len(plan.layers), 'layer')}, {_poolings(plan)}, on {counted(size.workers, 'worker')} of "
        f"{_mebibytes(size.worker_memory)}:",
        f"  network: {shards:,} tasks, {forward / 1e9:,.0f} GFLOP",
        f"  search: {search.tasks:,} tasks, {search.flop / 1e9:,.0f} GFLOP",
        f"  storage: {_mebibytes(search.storage_bytes)} written, {_mebibytes(search.read_bytes)} read by the search",
        f"  between workers: at most {_mebibytes(search.moved_bytes)} of results",
    ]
    return _Estimate(
        {"passes": [], "cluster": asdict(size) | {"network_tasks": shards, "forward_flop": forward} | asdict(search)},
        lines,
        partial(plan_cost, plan),
        size.workers * size.rate,
        f"{size.workers} × {size.rate / 1e9:,.0f} GFLOP/s ({size.measured})",
    )


def _poolings(plan: Plan) -> str:
    return " and ".join(plan.poolings)


def _mebibytes(num_bytes: float) -> str:
    return f"{num_bytes / 2**20:,.0f} MiB"


def _pass_row(part: Pass, cost: Cost) -> dict[str, float]:
    return {
        "layers": len(part.layers),
        "bytes": part.num_bytes,
        "spooled_bytes": part.spooled_bytes,
        "slices": len(part.slices),
        "runs": part.num_runs,
        "forward_flop": cost.forward_flop,
        "search_flop": cost.search_flop,
    }


def _pass_line(part: Pass, cost: Cost) -> str:
    names = f"{part.layers[0].layer} … {part.layers[-1].layer}" if len(part.layers) > 1 else part.layers[0].layer
    how = f" in {len(part.slices)} slices, {part.num_runs} runs" if part.slices else ""
    how = f" in a file of {_mebibytes(part.spooled_bytes)}" if part.spooled_bytes else how
    flop = f"{cost.forward_flop / 1e9:9,.0f} + {cost.search_flop / 1e9:,.0f} GFLOP"
    return f"{counted(len(part.layers), 'layer'):>10}, {part.num_bytes / 2**20:9,.0f} MiB, {flop}  {names}{how}"
