"""What is asked of a training: its recipe, and how it is carried out."""

from dataclasses import dataclass, field

import numpy as np

from core.training.augmentation import Augmentation

PHASES = ("head", "tail")


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is fine-tuned; the defaults are those of the original notebook.

    head_epochs, tail_epochs : at most, in each phase; without tail epochs there is no second phase.
    head_learning_rate, tail_learning_rate : Adam's learning rate in each phase. batch_size : images a step.
    unfreeze : name or pattern of the layer from which on the second phase trains.
    dropout : share of pooled activations dropped before the last layer. augmentation : how training images vary.
    early_stopping : a phase ends when val_loss has not fallen for so many epochs, and keeps its best weights; None: it
    runs to its end and keeps its last. seed : of everything random.
    """

    head_epochs: int = 25
    tail_epochs: int = 10
    head_learning_rate: float = 1e-2
    tail_learning_rate: float = 1e-4
    batch_size: int = 64
    unfreeze: str = "block7a_expand_conv"
    dropout: float = 0.2
    augmentation: Augmentation = field(default_factory=Augmentation)
    early_stopping: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        minima = {"head_epochs": 1, "tail_epochs": 0, "batch_size": 1, "seed": 0, "early_stopping": 1}
        for name, minimum in minima.items():
            if (getattr(self, name) if getattr(self, name) is not None else minimum) < minimum:
                raise ValueError(f"{name} must be at least {minimum}; got {getattr(self, name)}.")
        for name in ("head_learning_rate", "tail_learning_rate"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(
                    f"{name} must be a positive number; got {getattr(self, name)}. 1e-3 is usual for Adam."
                )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and less than 1; got {self.dropout}. 0 leaves it out.")

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
