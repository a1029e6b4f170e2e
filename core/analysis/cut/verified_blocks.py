"""The file `blocks.json` of a study: the measured accuracy of its network without each block."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from core.analysis.cut.blocks import MEASURED, Together, Verified, most_frequent_share
from core.study.plan import Plan
from core.study.store.opening import Study
from core.study.store.study_json import read_json_object
from core.study.store.writing import now_utc, write_json

FILE, FORMAT = "blocks.json", 1


def save_verified(study: Study, plan: Plan, verified: Verified) -> None:
    """Write `blocks.json` into the study's folder, in one step.

    Parameters
    ----------
    study : Study
    plan : Plan
        The plan whose network and images were used; the file records both.
    verified : Verified
    """
    assert plan.network is not None, "only networks have blocks"
    content = {
        "format": FORMAT,
        "measured": now_utc(),
        "weights_sha256": plan.network.weights_sha256,
        "data_fingerprint": plan.images.fingerprint,
        "num_test": verified.num_test,
        "accuracy": verified.accuracy,
        "level": verified.level,
        "blocks": verified.blocks.to_dict("records"),
        "together": None if verified.together is None else asdict(verified.together),
    }
    write_json(study.path / FILE, content)


def load_verified(study: Study) -> Verified | None:
    """Read `blocks.json`; None where it is missing or damaged, or where its weights or images are not the study's."""
    try:
        content = read_json_object(study.path / FILE, FILE)
        if content["format"] != FORMAT or not _is_of(study, content):
            return None
        blocks = pd.DataFrame(content["blocks"])[MEASURED]
        blocks = blocks.astype({name: str if name in ("block", "output") else float for name in MEASURED})
        numbers = blocks.select_dtypes("number")
        if not (np.isfinite(numbers) & (numbers.abs() <= 1)).all(axis=None):
            return None
        accuracy, num_test, level = float(content["accuracy"]), int(content["num_test"]), float(content["level"])
        test = study.samples.loc[study.samples["split"] == "test", "label"]
        if not (0 <= accuracy <= 1 and 1 <= num_test <= len(test) and 0 < level < 1):
            return None
        chance = most_frequent_share(test)
        return Verified(accuracy, num_test, level, blocks, _together(content["together"]), chance)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None


def _is_of(study: Study, content: dict[str, Any]) -> bool:
    """Whether the weights and images of the file are those of the study, as far as the study records them."""
    used = study.info.get("used", {})
    weights = used.get("model", {}).get("weights_sha256")
    images = used.get("data", {}).get("fingerprint")
    return weights in (None, content["weights_sha256"]) and images in (None, content["data_fingerprint"])


def _together(content: dict[str, Any] | None) -> Together | None:
    if content is None:
        return None
    numbers = {name: float(content[name]) for name in ("tolerance", "accuracy", "change", "low", "high")}
    if not all(abs(number) <= 1 for number in numbers.values()):
        raise ValueError("shares and their differences lie in -1 to 1")
    return Together(tuple(map(str, content["blocks"])), **numbers)
