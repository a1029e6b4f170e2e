"""Compiled functions that several threads may run at once.

TensorFlow keeps one kernel for each operation of a compiled function, and runs of that function share it. Its oneDNN
kernel of a convolution into which the sum that follows is fused keeps pointers to its input and output in itself
(TensorFlow 2.21), so that two runs at once write into each other's memory: wrong activations, or a crash. Each run gets
kernels of its own here.
"""

from collections import deque
from collections.abc import Callable
from typing import Any


def for_threads(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function of TensorFlow, with as many sets of kernels as there are runs at once.

    Parameters
    ----------
    function : callable
        A `tf.function` of tensors or arrays. Its graph is traced once; each further set of kernels optimizes it again.
    """
    import tensorflow as tf

    idle: deque[Callable[..., Any]] = deque([function])

    def run(*arguments: Any) -> Any:
        try:
            one = idle.pop()
        except IndexError:  # all are running
            one = tf.function(lambda *inner: function(*inner), autograph=False)
        try:
            return one(*arguments)
        finally:
            idle.append(one)

    return run
