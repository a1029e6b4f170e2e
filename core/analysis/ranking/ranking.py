"""Which pre-trained network separates these samples best: one study a network, compared on the same samples.

A ranking is a folder: `ranking.json` (format, what was asked and used, state, how networks are compared),
`ranking.parquet` (one row a network and candidate layer), `networks.parquet` (one row a network), and an ordinary study
folder for each network. `ranking_tables` says what the columns are, and how a network's layer is chosen.
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
    judged_by,
    layer_table,
    network_table,
    nothing_to_judge,
    num_comparisons,
)
from core.data.images.labelled_images import LabelledImages
from core.study.plan import Plan, Report, chosen_images, plan_study
from core.study.resumed_kernels import begin_as_recorded
from core.study.run import package_versions, run_study
from core.study.samples import StudySamples
from core.study.store.locks import is_locked
from core.study.store.opening import Study, StudyError, load_study, read_info, read_table_file
from core.study.store.schemas import RANKING_TABLES
from core.study.store.study_json import look_up, ranking_faults, read_json_object
from core.study.store.writing import differences, now_utc, replace_file, study_lock, write_json
from core.study.streaming import renamed

FORMAT = 1
_INFO = "ranking.json"
_TIMED = {"batch_size": 8, "repeats": 3}
_EARLIER_OPTIONS = {"skip_broken": False, "skip_small_classes": False, "test_fraction": 0.2}  # of earlier rankings
_PATHS = ("data", "features")  # what counts is the fingerprint of what lies there


@dataclass(frozen=True, eq=False)
class Ranking:
    """A ranking folder.

    path : the folder. info : the content of `ranking.json`. layers : `ranking.parquet`. networks : `networks.parquet`,
    the best first. Both tables are empty while the ranking is not complete; see `ranking_tables` for their columns.
    """

    path: Path
    info: Mapping[str, Any]
    layers: pd.DataFrame
    networks: pd.DataFrame

    @property
    def state(self) -> str:
        """ "complete", "running", or "partial": the same call goes on with it."""
        return str(self.info["state"])

    def study(self, network: str) -> Study:
        """The study of one of the networks."""
        return load_study(self.path / network)


def rank_networks(
    options: RankOptions, out: str | os.PathLike[str], *, memory: int | None = None, progress: Report | None = None
) -> Ranking:
    """Study each network on the same samples, time them, and say which are certainly worse than the best.

    A network from whose layers nothing can be concluded is left out, with a caution that says why; fewer than two
    others are refused as soon as that is known. What was computed stays in the folder.

    Parameters
    ----------
    options : what is asked.
    out : the ranking's folder. If it holds the same ranking, only what is missing is computed.
    memory : bytes for the activations of one pass; default half of what is available.
    progress : called with a `Progress` now and then.

    Raises
    ------
    StudyError
        The folder holds something else, or another run writes to it, or it is removed meanwhile; samples that differ
        from network to network; fewer than two networks from whose layers anything can be concluded.
    ValueError, OSError
        As `core.study.plan.plan_study`, before anything is computed.
    """
    folder, told = Path(out), progress or (lambda _: None)
    for model in options.models:
        begin_as_recorded(read_info(folder / network_name(model)))
    images = None
    if options.data:
        images = chosen_images(options.study(options.models[0]), memory=memory, progress=progress)
    features = [open_feature_files(files) for files in options.features]
    with study_lock(folder):
        info = _begin(folder, options, images, features)
        if info["state"] != "complete":
            plans = _plans(options, images, memory, told)
            samples = _common_samples(plans, features)
            with _recorded(folder, info):
                studies, left_out = _studies(options, plans, features, samples, told, folder)
                seconds = _seconds({name: plan for name, plan in plans.items() if name in studies})
                _check_still_there(folder, studies)
                _write_tables(folder, info, studies, seconds, options.pooling, left_out)
    return load_ranking(folder)


def load_ranking(path: str | os.PathLike[str]) -> Ranking:
    """Open a ranking folder, complete or not.

    Raises
    ------
    StudyError
        The folder is missing, holds no ranking, or one of a newer format.
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
        info["state"] = "partial"  # its run was killed before it could say so
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
    """Whether a complete ranking was made of a study's samples: those of the splits that it compares networks by.

    Samples are the same that have the same ids and classes in the same order; of two sets of images that are both known
    by what they hold, what they hold must be the same, too.
    """
    compared = ranking.info["compared"]
    splits = ("train", "test") if compared["measure"] == "cross" else (str(compared["split"]),)
    if look_up(study.info, "asked.data"):  # else its fingerprint is not that of images
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


def _check_still_there(folder: Path, networks: Iterable[str]) -> None:
    """Refuse to go on with a folder from which others have taken what this run has written into it.

    networks : whose studies are complete.

    Raises
    ------
    StudyError
        The folder, its ranking.json or the study of one of the networks is gone.
    """
    files = [_INFO, *(f"{name}/study.json" for name in networks)]
    lost = [name for name in files if not (folder / name).exists()]
    if lost:
        gone = f"it has lost {', '.join(lost[:3])}" if folder.is_dir() else "it has been removed"
        raise StudyError(f"{folder} must stay as it is while a run writes to it; {gone}. Run the same command again.")


def _begin(
    folder: Path, options: RankOptions, images: LabelledImages | None, features: Sequence[OpenFeatures]
) -> dict[str, Any]:
    """What ranking.json shall say of a ranking that starts, or goes on; as it stands if the same one is complete."""
    data = {} if images is None else {"name": images.name, "fingerprint": images.fingerprint}
    used = {"data": data, "features": {one.files.name: one.fingerprint() for one in features}}
    there = _read_info(folder)
    if there is None:
        others = sorted(path.name for path in folder.iterdir() if path.name != ".lock")
        if others:
            raise StudyError(
                f"{folder} must be empty or hold a ranking; it has {', '.join(others[:3])} and no ranking.json. "
                "Choose another folder."
            )
        there = {"format": FORMAT, "created": now_utc()}
    else:
        _refuse_differences(folder, there, options.asked(), used)
        if there.get("state") == "complete":
            return there
    return there | {"state": "running", "command": options.command(folder), "asked": options.asked(), "used": used}


def _refuse_differences(folder: Path, there: Mapping[str, Any], asked: dict[str, Any], used: dict[str, Any]) -> None:
    if there.get("format") != FORMAT:
        raise StudyError(
            f"{folder} holds a ranking of format {there.get('format')!r}, not {FORMAT}. Choose another folder."
        )
    if faults := ranking_faults(there):
        raise StudyError(f"{_INFO} in {folder} cannot be used: {'; '.join(faults)}. Choose another folder.")
    old = _EARLIER_OPTIONS | {name: value for name, value in there.get("asked", {}).items() if name not in _PATHS}
    new = {name: value for name, value in asked.items() if name not in _PATHS}
    before = there.get("used", {})
    changed = differences(old, new) + differences({name: before.get(name) for name in used}, used)
    if changed:
        raise StudyError(
            f"{folder} holds another ranking; it differs in {'; '.join(changed)}. "
            "Ask for the same to go on with it, or choose another folder."
        )


@contextmanager
def _recorded(folder: Path, info: Mapping[str, Any]) -> Iterator[None]:
    """From here on the folder holds this ranking; a run that ends early leaves one that says so."""
    write_json(folder / _INFO, info)
    try:
        yield
    except BaseException as error:
        if (folder / _INFO).exists():
            write_json(folder / _INFO, dict(info) | {"state": "partial"})
        elif isinstance(error, Exception):
            _check_still_there(folder, ())
        raise


def _plans(
    options: RankOptions, images: LabelledImages | None, memory: int | None, progress: Report
) -> dict[str, Plan]:
    """Every network loaded and planned before the first one runs: a wrong name is told now, not in an hour."""
    return {
        network_name(model): plan_study(
            options.study(model), memory=memory, images=images, progress=renamed(progress, network_name(model))
        )
        for model in options.models
    }


def _common_samples(plans: Mapping[str, Plan], features: Sequence[OpenFeatures]) -> StudySamples:
    """The samples of all networks, checked to be the same before anything is computed."""
    samples = next((plan.samples for plan in plans.values()), None)
    named = {one.files.name: one.ids is not None for one in features}
    if not plans and len(set(named.values())) > 1:
        lacking = next(name for name, has_ids in named.items() if not has_ids)
        raise StudyError(
            f"features must all have ids, or none, where no data says what the samples are; {lacking} has none. "
            "Name them with --ids."
        )
    for one in features:
        samples = ranked_samples(one, like=samples)
    assert samples is not None, "there are at least two networks"
    return samples


def _studies(
    options: RankOptions,
    plans: Mapping[str, Plan],
    features: Sequence[OpenFeatures],
    samples: StudySamples,
    progress: Report,
    folder: Path,
) -> tuple[dict[str, Study], list[str]]:
    """The study of each network, of which only what is missing is computed; and why some networks are left out."""
    studies: dict[str, Study] = {}
    left_out: list[str] = []

    def add(name: str, study: Study) -> None:
        if why := nothing_to_judge(study, judged_by(study, options.pooling)):
            left_out.append(f"The network {name} {why}.")
            _check_enough(len(options.names) - len(left_out), left_out, folder)
        else:
            studies[name] = study

    for one in features:
        name = one.files.name
        _check_still_there(folder, studies)
        written = write_ranked_features(
            one, samples, folder / name, neighbors=options.neighbors, probe=options.probe, progress=progress
        )
        add(name, written)
    for name, plan in plans.items():
        _check_still_there(folder, studies)
        add(name, run_study(plan, folder / name, progress=renamed(progress, name)))
    return {name: studies[name] for name in options.names if name in studies}, left_out


def _check_enough(remaining: int, left_out: Sequence[str], folder: Path) -> None:
    """Refuse a ranking of fewer than two networks."""
    if remaining < 2:
        raise StudyError(
            f"{' '.join(left_out)} A ranking must have two other networks or more; it has {remaining}. Rank in "
            f"another folder, with another network; the studies made so far are in {folder}."
        )


def _seconds(plans: Mapping[str, Plan]) -> dict[tuple[str, str], float]:
    """Seconds an image by network and layer, the networks taking turns; 0 without a network."""
    found = {(name, layer.layer): 0.0 for name, plan in plans.items() for layer in plan.layers}
    networks = {name: plan.network for name, plan in plans.items() if plan.network is not None}
    if not networks:
        return found
    from core.network.timing import interleaved_prefix_seconds

    places = [place for place in found if place[0] in networks]
    elapsed = interleaved_prefix_seconds([(networks[name], layer) for name, layer in places], **_TIMED)
    return found | dict(zip(places, elapsed, strict=True))


def _write_tables(
    folder: Path,
    info: Mapping[str, Any],
    studies: Mapping[str, Study],
    seconds: Mapping[tuple[str, str], float],
    pooling: str,
    left_out: Sequence[str],
) -> None:
    """Both tables, and in ranking.json how the networks were compared, and why some are left out."""
    first = next(iter(studies.values()))
    judged = judged_by(first, pooling)
    layers = layer_table(studies, seconds, judged)
    for name, table in {"ranking": layers, "networks": network_table(studies, layers, judged)}.items():
        replace_file(folder / f"{name}.parquet", partial(table.to_parquet, index=False))
    compared = asdict(judged) | {"level": LEVEL, "num_comparisons": num_comparisons(layers, judged)}
    cautions = dict.fromkeys([*(f"{why} It is left out." for why in left_out), *_cautions(studies)])
    if not judged.apart:
        cautions[_ONE_SPLIT.format(judged.split)] = None
    done = {
        "state": "complete",
        "finished": now_utc(),
        "compared": compared,
        "samples": first.samples["split"].astype(str).value_counts().to_dict(),
        "num_classes": int(first.samples["label"].nunique()),
        "timing": _TIMED | {"threads": int(os.environ.get("TF_NUM_INTRAOP_THREADS") or os.cpu_count() or 1)},
        "versions": dict(package_versions()),
        "cautions": list(cautions),
    }
    write_json(folder / _INFO, dict(info) | done)


def _cautions(studies: Mapping[str, Study]) -> Iterator[str]:
    """What the studies caution against; what not all of them do, with the network's name."""
    by_network = {name: study.info.get("cautions", []) for name, study in studies.items()}
    for name, texts in by_network.items():
        for text in texts:
            is_common = all(text in others for others in by_network.values())
            yield text if is_common else f"{name}: {text}"


_ONE_SPLIT = (
    "All samples are of the split {}: networks are compared by SI within it, which also chose the layer of each. The "
    "intervals are corrected for that, and wider than with samples of both splits."
)
