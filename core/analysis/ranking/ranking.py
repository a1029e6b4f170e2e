"""Rank pre-trained networks by how well they separate given samples: one study a network, compared on the same samples.

A ranking is a folder: `ranking.json` (format, options, inputs, state, how the networks are compared), `ranking.parquet`
(one row a network and candidate layer), `networks.parquet` (one row a network), and an ordinary study folder for each
network. `core.analysis.ranking.tables` describes the columns and how the layer of a network is chosen.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from core.analysis.comparing import check_same_samples
from core.analysis.ranking.options import RankOptions, network_name
from core.analysis.ranking.ready_features import (
    OpenFeatures,
    open_feature_files,
    ranked_samples,
    write_ranked_features,
)
from core.analysis.ranking.tables import (
    LEVEL,
    candidate_table,
    choose_criterion,
    network_table,
    num_comparisons,
    reason_to_leave_out,
)
from core.data.files import check_folder, replace_file
from core.data.images.labelled_images import LabelledImages
from core.data.images.loading import check_data_exist
from core.network.models.registry import Network
from core.study.plan import (
    Plan,
    Report,
    chosen_images,
    images_meanwhile,
    load_network_of,
    plan_study,
    told_as_checking,
)
from core.study.resumed_kernels import begin_as_recorded
from core.study.run import package_versions, run_study
from core.study.samples import StudySamples
from core.study.store.locks import is_locked
from core.study.store.opening import Study, StudyError, load_study, read_info, read_table_file
from core.study.store.replacing import replaced
from core.study.store.study_json import look_up, ranking_faults, read_json_object
from core.study.store.tables.schemas import RANKING_TABLES
from core.study.store.writing import differences, now_utc, study_lock, write_json
from core.study.streaming import renamed

FORMAT = 2
_INFO = "ranking.json"
_TIMED = {"batch_size": 8, "repeats": 3}
_PATHS = ("data", "features")  # options that may change: the fingerprint of the files is compared instead


@dataclass(frozen=True, eq=False)
class Ranking:
    """A ranking folder. Both tables are empty while the ranking is not complete.

    Attributes
    ----------
    path : Path
        The folder.
    info : mapping
        The content of `ranking.json`.
    layers : DataFrame
        `ranking.parquet`, with the columns of `core.analysis.ranking.tables.candidate_table`.
    networks : DataFrame
        `networks.parquet`, the best first, with the columns of `core.analysis.ranking.tables.network_table`.
    """

    path: Path
    info: Mapping[str, Any]
    layers: pd.DataFrame
    networks: pd.DataFrame

    @property
    def state(self) -> str:
        """Either "complete", "running", or "partial": interrupted, to be resumed by the same call."""
        return str(self.info["state"])

    def study(self, network: str) -> Study:
        """Open the study of one of the networks."""
        return load_study(self.path / network)


def rank_networks(
    options: RankOptions,
    out: str | os.PathLike[str],
    *,
    memory: int | None = None,
    progress: Report | None = None,
    overwrite: bool = False,
) -> Ranking:
    """Study each network on the same samples, time the networks, and compare each of them with the best.

    A network from whose layers nothing can be concluded is left out, with a caution that gives the reason. Where fewer
    than two networks would remain, the run stops; the studies made so far stay in the folder.

    Parameters
    ----------
    options : RankOptions
    out : path
        The folder of the ranking. If it holds the same ranking, only what is missing is computed.
    memory : int, optional
        Bytes for the activations of one pass; default half of the available memory.
    progress : callable, optional
        Called with a `Progress` from time to time.
    overwrite : bool
        Replace the ranking in the folder, whatever it is of, when the new one is complete; if this one fails or is
        stopped, the earlier one stays. A folder of anything else is refused.

    Raises
    ------
    StudyError
        The folder holds something else, another run writes to it, or it is removed during the run; the networks have
        different samples; nothing can be concluded for all but one network.
    ValueError, OSError
        As in `core.study.plan.plan_study`, before anything is computed.
    """
    folder, report = Path(out), progress or (lambda _: None)
    check_folder(folder)
    for model in () if overwrite else options.models:
        begin_as_recorded(read_info(folder / network_name(model)))
    is_needed = overwrite or not _is_complete(folder)
    networks, images = _load_inputs(options, memory, report) if is_needed else ({}, _images(options, memory, report))
    features = [open_feature_files(files) for files in options.features]
    with replaced(folder, _INFO, overwrite=overwrite), study_lock(folder):
        info = _begin(folder, options, images, features)
        if info["state"] != "complete":
            plans = _make_plans(options, images, networks, memory, report)
            samples = _common_samples(plans, features)
            with _state_recorded(folder, info):
                studies, left_out = _make_studies(options, plans, features, samples, report, folder)
                seconds = _measure_seconds({name: plan for name, plan in plans.items() if name in studies})
                _check_not_removed(folder, studies)
                _write_tables(folder, info, studies, seconds, options.pooling, left_out)
    return load_ranking(folder)


def load_ranking(path: str | os.PathLike[str]) -> Ranking:
    """Open a ranking folder, whether the ranking is complete or not.

    Raises
    ------
    StudyError
        The folder is missing, or holds no ranking or one of another format.
    """
    folder = Path(path)
    info = _read_info(folder)
    if info is None:
        raise StudyError(f"{folder} must be a ranking's folder with a ranking.json. Give the folder that --out named.")
    if info.get("format") != FORMAT or "state" not in info:
        raise StudyError(
            f"ranking.json in {folder} must have format {FORMAT} and a state; got format {info.get('format')!r}. "
            "Update this program, or rank again."
        )
    if faults := ranking_faults(info):
        raise StudyError(f"ranking.json in {folder} cannot be used: {'; '.join(faults)}. Rank again in another folder.")
    if info["state"] == "running" and not is_locked(folder / ".lock"):
        info["state"] = "partial"  # its run was killed before it could record that
    if info["state"] != "complete":
        return Ranking(folder, info, pd.DataFrame(), pd.DataFrame())
    layers, networks = (
        read_table_file(folder / f"{name}.parquet", RANKING_TABLES[name]).to_pandas()
        for name in ("ranking", "networks")
    )
    if networks.empty or not set(networks["network"]) <= set(layers["network"]):
        raise StudyError(f"networks.parquet in {folder} must name networks of ranking.parquet. Rank again.")
    return Ranking(folder, info, layers, networks)


def ranks_samples_of(ranking: Ranking, study: Study) -> bool:
    """Whether a complete ranking compares its networks by the samples of a study.

    The samples of the splits that are compared must have the same ids and classes in the same order. Where the
    fingerprints of both sets of images are known, they must be equal too.
    """
    compared = ranking.info["compared"]
    splits = ("train", "test") if compared["measure"] == "cross" else (str(compared["split"]),)
    if look_up(study.info, "asked.data"):  # other studies are of features: no fingerprint of images to compare
        fingerprints = [look_up(info, "used.data.fingerprint") for info in (study.info, ranking.info)]
        if None not in fingerprints and fingerprints[0] != fingerprints[1]:
            return False
    first = str(ranking.networks["network"].iloc[0])
    try:
        check_same_samples(ranking.study(first), study, splits=splits)
    except StudyError:
        return False
    return True


def _read_info(folder: Path) -> dict[str, Any] | None:
    try:
        return read_json_object(folder / _INFO, f"{_INFO} in {folder}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise StudyError(f"{error} Delete the folder.") from error


def _check_not_removed(folder: Path, networks: Iterable[str]) -> None:
    """Raise a StudyError if the folder, its ranking.json or one of the networks' studies was removed during the run."""
    files = [_INFO, *(f"{name}/study.json" for name in networks)]
    lost = [name for name in files if not (folder / name).exists()]
    if lost:
        gone = f"it has lost {', '.join(lost[:3])}" if folder.is_dir() else "it has been removed"
        raise StudyError(f"{folder} must stay as it is while a run writes to it; {gone}. Run the same command again.")


def _begin(
    folder: Path, options: RankOptions, images: LabelledImages | None, features: Sequence[OpenFeatures]
) -> dict[str, Any]:
    """Return the content of ranking.json for a ranking that starts or is resumed, or that of a complete one.

    A folder with anything else is refused.
    """
    data = {} if images is None else {"name": images.name, "fingerprint": images.fingerprint}
    used = {"data": data, "features": {opened.files.name: opened.fingerprint() for opened in features}}
    info = _read_info(folder)
    if info is None:
        others = sorted(path.name for path in folder.iterdir() if path.name != ".lock")
        if others:
            raise StudyError(
                f"{folder} must be empty or hold a ranking; it has {', '.join(others[:3])} and no ranking.json. "
                "Choose another folder."
            )
        info = {"format": FORMAT, "created": now_utc()}
    else:
        _refuse_differences(folder, info, options.asked(), used)
        if info.get("state") == "complete":
            return info
    return info | {"state": "running", "command": options.command(folder), "asked": options.asked(), "used": used}


def _refuse_differences(folder: Path, info: Mapping[str, Any], asked: dict[str, Any], used: dict[str, Any]) -> None:
    """Raise an error where a folder holds a ranking with other options or inputs than those of this run."""
    if info.get("format") != FORMAT:
        raise StudyError(
            f"{folder} holds a ranking of format {info.get('format')!r}, not {FORMAT}. Choose another folder."
        )
    if faults := ranking_faults(info):
        raise StudyError(f"{_INFO} in {folder} cannot be used: {'; '.join(faults)}. Choose another folder.")
    old = {name: value for name, value in info.get("asked", {}).items() if name not in _PATHS}
    new = {name: value for name, value in asked.items() if name not in _PATHS}
    recorded = info.get("used", {})
    changed = differences(old, new) + differences({name: recorded.get(name) for name in used}, used)
    if changed:
        raise StudyError(
            f"{folder} holds another ranking; it differs in {'; '.join(changed)}. "
            "Give the same options to resume it, choose another folder, or replace it: overwrite=True, or --overwrite."
        )


@contextmanager
def _state_recorded(folder: Path, info: Mapping[str, Any]) -> Iterator[None]:
    """Write ranking.json, and record the state "partial" in it if the run ends early."""
    write_json(folder / _INFO, info)
    try:
        yield
    except BaseException as error:
        if (folder / _INFO).exists():
            write_json(folder / _INFO, dict(info) | {"state": "partial"})
        elif isinstance(error, Exception):
            _check_not_removed(folder, ())
        raise


def _is_complete(folder: Path) -> bool:
    """Whether the folder holds a complete ranking, for which no network is needed."""
    return (_read_info(folder) or {}).get("state") == "complete"


def _images(options: RankOptions, memory: int | None, progress: Report) -> LabelledImages | None:
    """The images that all networks share, checked; None where there are none."""
    if not options.data:
        return None
    return chosen_images(options.study(options.models[0]), memory=memory, progress=progress)


def _load_inputs(
    options: RankOptions, memory: int | None, progress: Report
) -> tuple[dict[str, Network], LabelledImages | None]:
    """Load every network, and check the images meanwhile; an error about weights comes before any about images."""
    if not options.data:
        return _load_networks(options, progress), None
    study = options.study(options.models[0])
    check_data_exist(study.data)
    with images_meanwhile(study, memory) as image_check:
        networks = _load_networks(options, progress)
        return networks, image_check.result(told_as_checking(progress))


def _load_networks(options: RankOptions, progress: Report) -> dict[str, Network]:
    """Load every network, but for the pixels, which need none."""
    networks = {}
    for model in options.models:
        name = network_name(model)
        network = load_network_of(options.study(model), renamed(progress, name))
        if network is not None:
            networks[name] = network
    return networks


def _make_plans(
    options: RankOptions,
    images: LabelledImages | None,
    networks: Mapping[str, Network],
    memory: int | None,
    progress: Report,
) -> dict[str, Plan]:
    """Plan every network before the first one runs."""
    plans = {}
    for model in options.models:
        name = network_name(model)
        plans[name] = plan_study(
            options.study(model),
            memory=memory,
            images=images,
            network=networks.get(name),
            progress=renamed(progress, name),
        )
    return plans


def _common_samples(plans: Mapping[str, Plan], features: Sequence[OpenFeatures]) -> StudySamples:
    """Return the samples of all networks, checked to be the same before anything is computed."""
    samples = next((plan.samples for plan in plans.values()), None)
    without_ids = [opened.files.name for opened in features if opened.ids is None]
    if not plans and 0 < len(without_ids) < len(features):
        raise StudyError(
            f"features must have ids in all files, or in none, where no images are given; {without_ids[0]} has none. "
            "Give its ids with --ids."
        )
    for opened in features:
        samples = ranked_samples(opened, like=samples)
    assert samples is not None, "there are at least two networks"
    return samples


def _make_studies(
    options: RankOptions,
    plans: Mapping[str, Plan],
    features: Sequence[OpenFeatures],
    samples: StudySamples,
    progress: Report,
    folder: Path,
) -> tuple[dict[str, Study], list[str]]:
    """Compute what is missing of each network's study; return the studies and why some networks are left out."""
    studies: dict[str, Study] = {}
    left_out: list[str] = []

    def add(name: str, study: Study) -> None:
        if reason := reason_to_leave_out(study, choose_criterion(study, options.pooling)):
            left_out.append(f"The network {name} {reason}.")
            _check_enough(len(options.names) - len(left_out), left_out, folder)
        else:
            studies[name] = study

    for opened in features:
        name = opened.files.name
        _check_not_removed(folder, studies)
        written = write_ranked_features(
            opened, samples, folder / name, neighbors=options.neighbors, probe=options.probe, progress=progress
        )
        add(name, written)
    for name, plan in plans.items():
        _check_not_removed(folder, studies)
        add(name, run_study(plan, folder / name, progress=renamed(progress, name)))
    return {name: studies[name] for name in options.names if name in studies}, left_out


def _check_enough(remaining: int, left_out: Sequence[str], folder: Path) -> None:
    """Raise an error where fewer than two networks remain to be ranked."""
    if remaining < 2:
        raise StudyError(
            f"{' '.join(left_out)} A ranking must have at least two other networks; it has {remaining}. Add a network "
            f"and rank in another folder; the studies made so far are in {folder}."
        )


def _measure_seconds(plans: Mapping[str, Plan]) -> dict[tuple[str, str], float]:
    """Measure the seconds an image takes, by network and layer, with all of them taking turns; 0 for pixels."""
    seconds, timed = {}, []
    for name, plan in plans.items():
        for layer in plan.layers:
            seconds[name, layer.layer] = 0.0
            if plan.network is not None:
                timed.append((name, plan.network, layer.layer))
    if not timed:
        return seconds
    from core.network.timing import interleaved_prefix_seconds

    prefixes = [(network, layer) for _, network, layer in timed]
    elapsed = interleaved_prefix_seconds(prefixes, batch_size=_TIMED["batch_size"], repeats=_TIMED["repeats"])
    for (name, _, layer_name), elapsed_s in zip(timed, elapsed, strict=True):
        seconds[name, layer_name] = elapsed_s
    return seconds


def _write_tables(
    folder: Path,
    info: Mapping[str, Any],
    studies: Mapping[str, Study],
    seconds: Mapping[tuple[str, str], float],
    pooling: str,
    left_out: Sequence[str],
) -> None:
    """Write both tables, and add to ranking.json how the networks were compared and why some are left out."""
    first = next(iter(studies.values()))
    criterion = choose_criterion(first, pooling)
    layers = candidate_table(studies, seconds, criterion)
    for name, table in {"ranking": layers, "networks": network_table(studies, layers, criterion)}.items():
        replace_file(folder / f"{name}.parquet", partial(table.to_parquet, index=False))
    compared = asdict(criterion) | {"level": LEVEL, "num_comparisons": num_comparisons(layers, criterion)}
    cautions = [f"{reason} It is left out." for reason in left_out]
    cautions += _cautions(studies)
    if not criterion.chosen_separately:
        cautions.append(_ONE_SPLIT.format(criterion.split))
    results = {
        "state": "complete",
        "finished": now_utc(),
        "compared": compared,
        "samples": first.samples["split"].astype(str).value_counts().to_dict(),
        "num_classes": int(first.samples["label"].nunique()),
        "timing": _TIMED | {"threads": int(os.environ.get("TF_NUM_INTRAOP_THREADS") or os.cpu_count() or 1)},
        "versions": dict(package_versions()),
        "cautions": list(dict.fromkeys(cautions)),
    }
    write_json(folder / _INFO, dict(info) | results)


def _cautions(studies: Mapping[str, Study]) -> Iterator[str]:
    """The cautions of all studies; those that not all of them have begin with the name of the network."""
    by_network = {name: study.info.get("cautions", []) for name, study in studies.items()}
    for name, texts in by_network.items():
        for text in texts:
            is_common = all(text in others for others in by_network.values())
            yield text if is_common else f"{name}: {text}"


_ONE_SPLIT = (
    "All samples are of the split {}. Networks are compared by SI within it, by which the layer of each was chosen "
    "too; the intervals are corrected for that, and wider than with samples of both splits."
)
