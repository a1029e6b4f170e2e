"""Texts about a study from its study.json, in which everything but `format` and `state` may be missing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from core.report.words.formatting import plain
from core.report.words.provenance import caption_parts, known_facts, weights_text
from core.study.store.opening import StudyError, read_info
from core.study.store.study_json import look_up
from explorer.server.public_mode import is_public
from explorer.studies.descriptions import description_of
from explorer.studies.loading import OpenStudy


def study_title(folder: Path, name: str = "") -> str:
    """A study's title in the picker: name, weights, network and data; what differs between studies comes first.

    Parameters
    ----------
    folder : Path
        The study's folder.
    name : str
        What the study is called; by default as a person named it, else as its folder.
    """
    try:
        info = read_info(folder) or {}
    except StudyError:  # a study with a damaged study.json is still listed, by its folder
        info = {}
    words = [weights_text(info), look_up(info, "used.model.name"), look_up(info, "used.data.name")]
    others = dict.fromkeys(str(word) for word in words if word and str(word) != folder.name)
    return " · ".join([name or description_of(folder).name or folder.name, *others])


def caption(study: OpenStudy) -> str:
    """Network, data, numbers of samples and seed in one line of Markdown."""
    return " · ".join(map(plain, caption_parts(study.info, study.curves)))


def facts(study: OpenStudy) -> pd.Series:
    """The facts of `known_facts` and, unless the server is public, the study's folder."""
    values = known_facts(study.info, study.state, study.curves)
    if not is_public():
        values = {"Folder": study.path} | values
    elif "Weights" in values:  # they may be a path of the server
        values["Weights"] = weights_text(study.info) or ""
    return pd.Series(values, name="")


UNTRAINED = ("none", "untrained", "random")  # names of weights that were never trained


def control_of(study: OpenStudy, infos: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The study of the same network with untrained weights on the same data.

    Parameters
    ----------
    study : OpenStudy
        The study to find a control for.
    infos : mapping
        Name to content of study.json, of the studies to choose from.

    Returns
    -------
    str or None
        Name of the control; None without one, or if `study` itself is untrained.
    """
    network_and_data = _network_and_data(study.info)
    if None in network_and_data or _is_untrained(study.info):
        return None
    for name, info in infos.items():
        if _network_and_data(info) == network_and_data and _is_untrained(info):
            return name
    return None


def _network_and_data(info: Mapping[str, Any]) -> tuple[Any, Any]:
    return look_up(info, "used.model.name"), look_up(info, "used.data.fingerprint")


def _is_untrained(info: Mapping[str, Any]) -> bool:
    return str(look_up(info, "used.model.weights")).lower() in UNTRAINED
