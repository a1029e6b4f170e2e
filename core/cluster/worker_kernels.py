"""What each worker does before its first task: it takes over how TensorFlow computes in the process that connected."""

from typing import Any

from distributed import WorkerPlugin

from core.network.kernels import Kernels, tensorflow_is_loaded, use_kernels


class WorkerKernels(WorkerPlugin):
    """Sets a worker process that has not loaded TensorFlow yet; also one that joins, or is started again, later."""

    def __init__(self, kernels: Kernels) -> None:
        self._kernels = kernels

    def setup(self, worker: Any) -> None:
        if not tensorflow_is_loaded():
            use_kernels(self._kernels)
