"""What a study says of itself, in words. All of study.json but `format` and `state` may be missing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from core.report.words.formatting import plain
from core.report.words.provenance import caption_parts, known_facts, weights_text
from core.study.store.opening import StudyError, read_info
from core.study.store.study_json import look_up
from explorer.server.public_mode import is_public
from explorer.studies.loading import OpenStudy


def study_title(folder: Path) -> str:
    """A study's name in the picker: folder, weights, network and data; what tells studies apart comes first."""
    try:
        info = read_info(folder) or {}
    except StudyError:  # nothing has opened it yet: a run's study.json may be damaged, and is in the list all the same
        info = {}
    words = [folder.name, weights_text(info), look_up(info, "used.model.name"), look_up(info, "used.data.name")]
    return " · ".join(dict.fromkeys(str(word) for word in words if word))


def caption(study: OpenStudy) -> str:
    """One line of Markdown: network, data, numbers of samples, seed."""
    return " · ".join(map(plain, caption_parts(study.info, study.curves)))


def facts(study: OpenStudy) -> pd.Series:
    """What `known_facts` says, and the folder; strangers are shown no path of the server."""
    found = known_facts(study.info, study.state, study.curves)
    if is_public():
        found |= {"Weights": weights_text(study.info) or ""} if "Weights" in found else {}
    else:
        found = {"Folder": study.path} | found
    return pd.Series(found, name="")


UNTRAINED = ("none", "untrained", "random")  # what studies call weights that were never trained


def control_of(study: OpenStudy, others: Mapping[str, Path], infos: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The study of the same network with untrained weights on the same data, by name; None where there is none."""
    own = [look_up(study.info, path) for path in ("used.model.name", "used.data.fingerprint")]
    if None in own or str(look_up(study.info, "used.model.weights")).lower() in UNTRAINED:
        return None
    for name in others:
        info = infos.get(name, {})
        same = [look_up(info, path) for path in ("used.model.name", "used.data.fingerprint")] == own
        if same and str(look_up(info, "used.model.weights")).lower() in UNTRAINED:
            return name
    return None
