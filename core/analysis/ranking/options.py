"""The options of a ranking of networks."""

import os
import shlex
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from core.analysis.ranking.ready_features import FeatureFiles
from core.network.catalogue import DEFAULT_LAYERS
from core.network.models.registry import DEFAULT_WEIGHTS, is_model_file
from core.study.options import PIXELS, check_options, declare, declare_as_in_study, flags_of, with_parameters
from core.study.plan import StudyOptions


@with_parameters
@dataclass(frozen=True)
class RankOptions:
    """The options of a ranking.

    data : labelled images, as for a study; empty to rank features alone.
    models : names of networks as in `core.network.models.registry.load_network`, paths of `.keras` or `.h5` files, or
        "pixels".
    features : features of other networks, with one or more layers each. Their samples must be those of `data`: matched
        by id where the files have ids, otherwise in the order of a study, which is training samples first, ids
        ascending.
    """

    data: str = ""
    models: tuple[str, ...] = ()
    features: tuple[FeatureFiles, ...] = ()
    weights: str = declare(
        DEFAULT_WEIGHTS,
        help="Weights of all networks but files: imagenet or none.",
        group="network",
        metavar="WEIGHTS",
    )
    layers: str = declare(
        "blocks",
        help="Candidate layers of each network, separated by commas: blocks, main, all, names and patterns.",
        group="layers",
        metavar="LAYERS",
    )
    pooling: str = declare(
        "mean",
        help="Features of a layer: flat takes all activations, mean the mean of each channel.",
        group="layers",
        choices=("mean", "flat"),
    )
    tokens: str = declare_as_in_study("tokens")
    per_class: int | None = declare_as_in_study("per_class")
    seed: int = declare_as_in_study("seed")
    neighbors: int = declare_as_in_study("neighbors")
    test_fraction: float = declare_as_in_study("test_fraction")
    probe: bool = declare_as_in_study("probe")
    skip_broken: bool = declare_as_in_study("skip_broken")
    skip_small_classes: bool = declare_as_in_study("skip_small_classes")

    def __post_init__(self) -> None:
        if self.pooling not in ("mean", "flat"):
            raise ValueError(f"pooling must be mean or flat; got {self.pooling!r}. Rank twice to have both.")
        check_options(self)
        if bool(self.data) != bool(self.models):
            given = "networks without data" if self.models else "data without networks"
            raise ValueError(
                f"models must go with data to run on; got {given}. "
                "Name both, such as --models efficientnet-lite0,pixels and a folder of images, or only features."
            )
        names = self.names
        if len(names) < 2:
            raise ValueError(
                f"models and features must name at least two networks to rank; got {len(names)}. "
                "`python -m core study` or `measure` looks at one."
            )
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"models and features must have names of their own; got {', '.join(repeated)} twice.")

    @property
    def names(self) -> list[str]:
        """The names of the networks, which are also the names of their folders."""
        return [network_name(model) for model in self.models] + [files.name for files in self.features]

    def study(self, model: str) -> StudyOptions:
        """Return the options of a network's study."""
        takes_weights = model != PIXELS and not is_model_file(model)
        layers = DEFAULT_LAYERS if model == PIXELS else self.layers
        return StudyOptions(
            data=self.data,
            model=model,
            weights=self.weights if takes_weights else None,
            layers=layers,
            pooling=self.pooling,
            tokens=self.tokens,
            per_class=self.per_class,
            seed=self.seed,
            neighbors=self.neighbors,
            probe=self.probe,
            skip_broken=self.skip_broken,
            skip_small_classes=self.skip_small_classes,
            test_fraction=self.test_fraction,
            projection="none",
            allow_long_search=True,  # paired intervals need the same queries in all studies: all samples
        )

    def asked(self) -> dict[str, Any]:
        """Return the options as ranking.json records them."""
        simple = {field.name: getattr(self, field.name) for field in fields(self)}
        return simple | {"models": list(self.models), "features": [asdict(files) for files in self.features]}

    def command(self, out: str | os.PathLike[str]) -> str:
        """Return the command that computes this ranking."""
        words = ["python", "-m", "core", "rank", *([self.data] if self.data else []), "--out", os.fspath(out)]
        words += ["--models", ",".join(self.models)] if self.models else []
        words += flags_of(self)
        for files in self.features:
            words += ["--features", f"{files.name}={files.path}"]
            if files.test:
                words += ["--test", f"{files.name}={files.test}"]
        for option in ("labels", "test_labels", "ids", "test_ids"):
            values = {getattr(files, option) for files in self.features} - {None}
            for value in sorted(values):
                words += [f"--{option.replace('_', '-')}", value]
        return shlex.join(words)


def network_name(model: str) -> str:
    """Return the name of a network in a ranking: that of a file is the file's, without folder and extension."""
    return Path(model).stem if is_model_file(model) else model
