"""The options of a ranking of networks."""

import os
import shlex
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from core.analysis.ranking.ready_features import FeatureFiles
from core.data.images.loading import TEST_FRACTION
from core.network.catalogue import DEFAULT_LAYERS
from core.network.models.registry import is_model_file
from core.study.plan import PIXELS, StudyOptions


@dataclass(frozen=True)
class RankOptions:
    """The options of a ranking.

    Attributes
    ----------
    data : str
        An image folder, "tfds:NAME" or "digits"; empty to rank features alone.
    models : tuple of str
        Names of networks as in `core.network.models.registry.load_network`, paths of `.keras` or `.h5` files, or
        "pixels".
    features : tuple of FeatureFiles
        Features of other networks, with one or more layers each. Their samples must be those of `data`: matched by id
        where the files have ids, otherwise in the order of a study, which is training samples first, ids ascending.
    weights : str
        Weights of all models that are not files.
    layers : str
        The candidate layers of each network; see `core.network.catalogue.select_layers`.
    pooling : {"mean", "flat"}
    per_class : int, optional
        Number of samples a class; default all.
    seed : int
        Seed of the choice of samples.
    neighbors : int
        Number of neighbors a sample that the studies store.
    probe : bool
        Whether to compute the accuracy of a linear probe too.
    skip_broken, skip_small_classes, test_fraction
        How `data` is read; see `core.data.images.loading.load_images`.

    Raises
    ------
    ValueError
        Unknown pooling, models without data or the reverse, fewer than two networks, or a repeated name.
    """

    data: str = ""
    models: tuple[str, ...] = ()
    features: tuple[FeatureFiles, ...] = ()
    weights: str = "imagenet"
    layers: str = "blocks"
    pooling: str = "mean"
    per_class: int | None = None
    seed: int = 0
    neighbors: int = 10
    probe: bool = True
    skip_broken: bool = False
    skip_small_classes: bool = False
    test_fraction: float = TEST_FRACTION

    def __post_init__(self) -> None:
        if self.pooling not in ("mean", "flat"):
            raise ValueError(f"pooling must be mean or flat; got {self.pooling!r}. Rank twice to have both.")
        if bool(self.data) != bool(self.models):
            given = "networks without data" if self.models else "data without networks"
            raise ValueError(f"models must go with data to run on; got {given}. Name both, or only features.")
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
        words = ["python", "-m", "core", "rank"]
        if self.data:
            words.append(self.data)
        words += ["--out", os.fspath(out)]
        if self.models:
            words += ["--models", ",".join(self.models)]
        for option in ("weights", "layers", "pooling", "per_class", "seed", "neighbors", "test_fraction"):
            value = getattr(self, option)
            if value != getattr(RankOptions, option):
                words += [f"--{option.replace('_', '-')}", str(value)]
        if not self.probe:
            words.append("--no-probe")
        if self.skip_broken:
            words.append("--skip-broken")
        if self.skip_small_classes:
            words.append("--skip-small-classes")
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
