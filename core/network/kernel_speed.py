"""How fast TensorFlow's two sets of kernels compute a network on this processor: oneDNN's, and its own.

Which of them is used is decided once, while TensorFlow is imported, so each is timed in a process of its own.
"""

import json
import os
import subprocess
import sys
import time

from core.network.kernels import ONEDNN

_BATCH_SIZE, _BATCHES = 32, 4


def forward_seconds() -> dict[bool, float]:
    """Seconds an image of EfficientNet-Lite0 with the default layers as outputs, with oneDNN's kernels and without.

    The weights are random, and so are the pixels. Of some batches the fastest counts.

    Raises
    ------
    RuntimeError
        A process that measures fails; the message has the end of what it said.
    """
    return {onednn: _measured_apart(onednn) for onednn in (True, False)}


def _measured_apart(onednn: bool) -> float:
    environment = os.environ | {ONEDNN: "1" if onednn else "0"}
    command = [sys.executable, "-m", "core.network.kernel_speed"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"TensorFlow cannot be timed with {ONEDNN}={environment[ONEDNN]}: {done.stderr[-500:]}")
    return float(json.loads(done.stdout.splitlines()[-1]))


def _measure() -> float:
    import numpy as np

    from core.network.activations import compile_pass
    from core.network.catalogue import catalogue, select_default_layers
    from core.network.models.registry import load_network
    from core.network.passes import Pass

    network = load_network("efficientnet-lite0", "none")
    layers = tuple(select_default_layers(catalogue(network.model)))
    forward = compile_pass(network, Pass(layers, 0), poolings=("mean",), batch_size=_BATCH_SIZE)
    images = np.random.default_rng(0).uniform(0, 255, (_BATCH_SIZE, *network.input_size, 3)).astype(np.float32)
    np.asarray(forward(images)[-1])  # compiles
    seconds = []
    for _ in range(_BATCHES):
        start = time.perf_counter()
        np.asarray(forward(images)[-1])
        seconds.append(time.perf_counter() - start)
    return min(seconds) / _BATCH_SIZE


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_measure()) + "\n")
