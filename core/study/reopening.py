"""Load the network and the images of a finished study again, and check that they are the same."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from core.data.errors import FaultsError
from core.network.models.registry import Network, is_model_file, load_network
from core.network.models.weights_only import holds_weights_only
from core.study.options import PIXELS
from core.study.plan import Plan, Report, StudyOptions, plan_study
from core.study.store.opening import Study, StudyError
from core.study.store.study_json import look_up


def has_network(info: Mapping[str, Any]) -> bool:
    """Whether a study is of a network that can be loaded again, not of PyTorch, features or pixels.

    info : content of study.json.
    """
    asked = info.get("asked", {})
    return bool(asked.get("model", PIXELS) != PIXELS and "data" in asked)


def is_of_torch(info: Mapping[str, Any]) -> bool:
    """Whether a study was made by `study_from_torch`.

    info : content of study.json.
    """
    return "torch" in (look_up(info, "used.versions") or {})


def reopen_network(study: Study, *, weights: str | None = None) -> Network:
    """Load the network that a study measured.

    Parameters
    ----------
    study : of a network.
    weights : where the study's file of the network lies now; default where it lay.

    Raises
    ------
    StudyError
        The study has no network, its weights are gone, or they are others by now.
    """
    asked = _network_options(study, weights)
    try:
        network = load_network(asked.model, asked.weights, input_size=asked.input_size, seed=asked.seed)
    except FileNotFoundError as error:
        raise _gone(str(asked.weights)) from error
    _check_weights(study, network)
    return network


def reopen_plan(
    study: Study, *, data: str | None = None, weights: str | None = None, progress: Report | None = None
) -> Plan:
    """Rebuild a study's plan: network, images and samples.

    Parameters
    ----------
    study : of a network on images.
    data : where the study's images lie now; default where they lay. weights : as in `reopen_network`.
    progress : told how many images have been checked.

    Raises
    ------
    StudyError
        The study has no network, or network or images are gone or others by now.
    """
    asked = _network_options(study, weights)
    options = replace(asked, data=data or asked.data)
    try:
        plan = plan_study(options, progress=progress)
    except FileNotFoundError as error:
        if str(options.weights) in str(error):
            raise _gone(str(options.weights)) from error
        raise StudyError(f"The images of the study are not there any more: {error} Say with --data where.") from error
    except FaultsError as error:
        raise StudyError(
            f"The images of the study cannot be read any more as they were: {error.text(_no_option)} Restore them, or "
            "say with --data where the same images lie."
        ) from error
    if plan.network is not None:
        _check_weights(study, plan.network)
    before = study.info.get("used", {}).get("data", {}).get("fingerprint")
    if before not in (None, plan.images.fingerprint):
        raise StudyError(
            f"data must be the images of the study in {study.path}; {options.data} holds others, or other ones were "
            "chosen. Say with --data where the same images lie."
        )
    return plan


def _no_option(name: str, value: Any) -> None:
    """A study that is opened again keeps the options that it was made with."""


def _network_options(study: Study, weights: str | None) -> StudyOptions:
    """What was asked of the study, as far as it names a network. weights : where its file lies now, if elsewhere."""
    asked: dict[str, Any] = dict(study.info.get("asked", {}))
    if not has_network(study.info):
        if is_of_torch(study.info):
            raise StudyError(
                f"The study in {study.path} is of a PyTorch network, which is not stored with it. Cut it in your own "
                "program, as `python -m core cut STUDY` without a file says."
            )
        raise StudyError(
            f"The study in {study.path} has no network: it was made from features or from pixels. Only what `python -m "
            "core study` made of a network can be cut."
        )
    known = {field.name: asked[field.name] for field in fields(StudyOptions) if field.name in asked}
    if weights is not None:
        known["weights"] = weights
    if is_model_file(known.get("weights")) and not holds_weights_only(Path(known["weights"])):
        known |= {"model": None, "input_size": known.get("input_size") or _square_size(study)}
    return StudyOptions(**known | {"sizes": tuple(known.get("sizes", ()))})


def _square_size(study: Study) -> int | None:
    """The image size that the study used; None where its sides differ, for then the file fixes it."""
    sides = study.info.get("used", {}).get("model", {}).get("input_size") or []
    return sides[0] if len(sides) == 2 and sides[0] == sides[1] else None


def _check_weights(study: Study, network: Network) -> None:
    before = study.info.get("used", {}).get("model", {}).get("weights_sha256")
    if before not in (None, network.weights_sha256):
        raise StudyError(
            f"weights must be those that the study in {study.path} measured; {network.weights} holds others by now. "
            "Say with --weights where the same file lies, or run the study again."
        )


def _gone(weights: str) -> StudyError:
    return StudyError(
        f"The weights of the study are not there any more: no file {weights}. Say with --weights where it lies now."
    )
