"""What is asked of a training: its recipe, and how it is carried out."""

from dataclasses import dataclass, field
from math import inf
from typing import Any

from core.study.options import check_options, declare, declare_as_in_study, with_parameters
from core.training.augmentation import Augmentation

PHASES = ("head", "tail")
_RATE: dict[str, Any] = {
    "group": "training",
    "metavar": "X",
    "excludes_least": True,
    "most": inf,
    "excludes_most": True,
    "advice": "1e-3 is usual for Adam.",
}


@with_parameters
@dataclass(frozen=True)
class TrainingOptions:
    """How a network is fine-tuned; the defaults are those of the original notebook.

    augmentation : how training images vary.
    """

    head_epochs: int = declare(
        25,
        help="Number of epochs of the first phase, which trains the new head.",
        group="training",
        metavar="N",
        least=1,
    )
    tail_epochs: int = declare(
        10,
        help="Number of epochs of the second phase, which also trains the unfrozen tail; 0 leaves it out.",
        group="training",
        metavar="N",
    )
    head_learning_rate: float = declare(1e-2, help="Adam's learning rate in the first phase.", **_RATE)
    tail_learning_rate: float = declare(1e-4, help="Adam's learning rate in the second phase.", **_RATE)
    batch_size: int = declare(64, help="Number of images in a training step.", group="training", metavar="N", least=1)
    unfreeze: str = declare(
        "block7a_expand_conv",
        help="Name or pattern of the layer with which the tail begins.",
        group="training",
        metavar="PATTERN",
    )
    dropout: float = declare(
        0.2,
        help="Share of the pooled activations that is dropped before the last layer.",
        group="training",
        metavar="X",
        most=1,
        excludes_most=True,
        advice="0 leaves it out.",
    )
    augmentation: Augmentation = field(default_factory=Augmentation)
    early_stopping: int | None = declare(
        None,
        help="Number of epochs without a lower val_loss after which a phase ends, with the weights of its best epoch.",
        group="training",
        metavar="N",
        least=1,
        default_text="each phase runs to its end, and keeps its last weights",
    )
    seed: int = declare_as_in_study("seed", help="Seed of the split and of everything random.")

    def __post_init__(self) -> None:
        check_options(self)

    def epochs(self, phase: str) -> int:
        return self.head_epochs if phase == "head" else self.tail_epochs

    def rate(self, phase: str) -> float:
        return self.head_learning_rate if phase == "head" else self.tail_learning_rate


@dataclass(frozen=True)
class Execution:
    """How the same training is carried out on the machine at hand.

    num_variants : changed copies of each training image whose frozen activations are computed once; with 0, those of
    the images themselves; None computes them anew in every epoch, of new copies. mixed_precision : the network's
    products in float16.
    """

    num_variants: int | None = 4
    mixed_precision: bool = False
