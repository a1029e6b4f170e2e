"""What is asked of a ranking of networks."""

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
    """What is asked of a ranking.

    data : an image folder, "tfds:NAME" or "digits"; empty to rank features alone.
    models : networks as in `core.network.models.registry.load_network`, paths of `.keras` or `.h5` files, or "pixels".
    features : other networks' features, which may be several layers each; their samples must be those of `data`, paired
        by id where the files have ids, else in the order of a study's: training samples first, ids ascending.
    weights : of the models but for files. layers : candidates of each network; see
        `core.network.catalogue.select_layers`. pooling : "mean" or "flat". per_class, seed : the choice of samples.
    neighbors : stored a sample, in the studies. probe : also the accuracy of a linear probe.
    skip_broken, skip_small_classes, test_fraction : of `data`, see `core.data.images.loading.load_images`.
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
        """The networks' names, which are their folders': a file goes by its own name."""
        return [network_name(model) for model in self.models] + [one.name for one in self.features]

    def study(self, model: str) -> StudyOptions:
        """What is asked of a network's study."""
        has_weights = model == PIXELS or is_model_file(model)
        return StudyOptions(
            data=self.data,
            model=model,
            weights=None if has_weights else self.weights,
            layers=DEFAULT_LAYERS if model == PIXELS else self.layers,
            pooling=self.pooling,
            per_class=self.per_class,
            seed=self.seed,
            neighbors=self.neighbors,
            probe=self.probe,
            skip_broken=self.skip_broken,
            skip_small_classes=self.skip_small_classes,
            test_fraction=self.test_fraction,
            projection="none",
            allow_long_search=True,  # its intervals are of pairs of samples, so all are asked
        )

    def asked(self) -> dict[str, Any]:
        """The options as ranking.json records them."""
        simple = {field.name: getattr(self, field.name) for field in fields(self)}
        return simple | {"models": list(self.models), "features": [asdict(one) for one in self.features]}

    def command(self, out: str | os.PathLike[str]) -> str:
        """The command that asks for this ranking."""
        words = ["python", "-m", "core", "rank", *([self.data] if self.data else []), "--out", os.fspath(out)]
        words += ["--models", ",".join(self.models)] if self.models else []
        for option in ("weights", "layers", "pooling", "per_class", "seed", "neighbors", "test_fraction"):
            value = getattr(self, option)
            if value != getattr(RankOptions, option):
                words += [f"--{option.replace('_', '-')}", str(value)]
        words += [] if self.probe else ["--no-probe"]
        words += ["--skip-broken"] * self.skip_broken + ["--skip-small-classes"] * self.skip_small_classes
        for one in self.features:
            words += ["--features", f"{one.name}={one.path}", *(["--test", f"{one.name}={one.test}"] * bool(one.test))]
        for name in ("labels", "test_labels", "ids", "test_ids"):
            given = {getattr(one, name) for one in self.features} - {None}
            words += [word for value in sorted(given) for word in (f"--{name.replace('_', '-')}", value)]
        return shlex.join(words)


def network_name(model: str) -> str:
    """What a network is called in a ranking: a file goes by its own name."""
    return Path(model).stem if is_model_file(model) else model
