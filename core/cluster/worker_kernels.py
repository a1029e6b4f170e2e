"""A plugin by which each worker takes over TensorFlow's kernel settings from the process that connected."""

from typing import Any

from distributed import WorkerPlugin

from core.network.kernels import Kernels, tensorflow_is_loaded, use_kernels


class WorkerKernels(WorkerPlugin):
    """Sets the kernels of workers that have not loaded TensorFlow yet, including workers that join or restart later."""

    def __init__(self, kernels: Kernels) -> None:
        self._kernels = kernels

    def setup(self, worker: Any) -> None:
        if not tensorflow_is_loaded():
            use_kernels(self._kernels)
