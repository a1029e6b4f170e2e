"""Training and test steps of one phase, which return the loss and the number of correct predictions of a batch."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.training.inputs import compiled
from core.training.tails import HeadedNetwork

Sums = tuple[float, int]  # sum of the losses, number of correct predictions


class Steps:
    """The steps of a phase (`head` or `tail`) and their optimizer, Adam.

    In the phase `head` the inputs are pooled activations, in the phase `tail` the tensors that cross the network's cut.
    The batch normalization of the head is trained in the phase `head` only, that of the tail never.

    Parameters
    ----------
    network : HeadedNetwork
        The network.
    phase : {"head", "tail"}
        The phase of training.
    rate : float
        Learning rate.
    dropout : float
        Share of the pooled activations that are dropped in training.
    mixed_precision : bool
        Whether the network computes in float16.
    """

    def __init__(
        self, network: HeadedNetwork, phase: str, *, rate: float, dropout: float, mixed_precision: bool
    ) -> None:
        import keras

        self._network, self._phase, self._dropout = network, phase, dropout
        self._variables = network.trainable(phase)
        self._optimizer = keras.optimizers.Adam(rate)
        if mixed_precision:  # float16 gradients would vanish otherwise
            self._optimizer = keras.optimizers.LossScaleOptimizer(self._optimizer)
        self._optimizer.build(self._variables)
        self._train, self._test = compiled(self._train_step), compiled(self._test_step)

    @property
    def optimizer_variables(self) -> list[Any]:
        return list(self._optimizer.variables)

    def train(self, tensors: Sequence[Any], labels: np.ndarray, seed: np.ndarray) -> Sums:
        """Train on a batch; return the sum of its losses and the number of correct predictions before the update.

        `seed` are two integers for the dropout.
        """
        loss, hits = self._train(list(tensors), labels, seed.astype(np.int32))
        return float(loss), int(hits)

    def test(self, tensors: Sequence[Any], labels: np.ndarray) -> Sums:
        """Return the sum of the losses of a batch and the number of correct predictions."""
        loss, hits = self._test(list(tensors), labels)
        return float(loss), int(hits)

    def _train_step(self, tensors: list[Any], labels: Any, seed: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            logits = self._logits(tensors, seed)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            scaled = self._optimizer.scale_loss(tf.reduce_mean(losses))
        self._optimizer.apply(tape.gradient(scaled, self._variables), self._variables)
        return tf.reduce_sum(losses), _hits(logits, labels)

    def _test_step(self, tensors: list[Any], labels: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        logits = self._logits(tensors, None)
        return tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)), _hits(logits, labels)

    def _logits(self, tensors: list[Any], seed: Any) -> Any:
        """Return the outputs of the last layer before the softmax; `seed` is None outside of training."""
        import tensorflow as tf

        network, training = self._network, seed is not None
        x = tensors[0] if self._phase == "head" else network.pooled(tensors)
        x = network.normalization(x, training=training and self._phase == "head")
        if training and self._dropout:
            is_active = tf.random.stateless_uniform(tf.shape(x), seed) >= self._dropout
            x = tf.where(is_active, x / (1 - self._dropout), 0.0)
        return tf.matmul(x, network.predictions.kernel) + network.predictions.bias


def _hits(logits: Any, labels: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_sum(tf.cast(tf.argmax(logits, axis=1, output_type=labels.dtype) == labels, tf.int32))
