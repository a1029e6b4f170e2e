"""The speed of a network on this processor with TensorFlow's two sets of kernels: oneDNN's and its own.

TensorFlow chooses its kernels once, while it is imported, so each set is timed in a separate process.
"""

import json
import os
import subprocess
import sys
import time

from core.network.kernels import ONEDNN

_BATCHES = 12


def forward_seconds() -> dict[bool, float]:
    """Measure EfficientNet-Lite0 with the default layers as outputs, with oneDNN's kernels and without.

    Weights and pixels are random. The fastest of several batches counts.

    Returns
    -------
    dict of bool to float
        Seconds per image, with oneDNN (True) and without (False).

    Raises
    ------
    RuntimeError
        If one of the processes fails; the message contains the end of its error output.
    """
    return {onednn: _measure_in_subprocess(onednn) for onednn in (True, False)}


def _measure_in_subprocess(onednn: bool) -> float:
    environment = os.environ | {ONEDNN: "1" if onednn else "0"}
    command = [sys.executable, "-m", "core.network.kernel_speed"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"TensorFlow cannot be timed with {ONEDNN}={environment[ONEDNN]}: {done.stderr[-500:]}")
    return float(json.loads(done.stdout.splitlines()[-1]))


def _measure() -> float:
    import numpy as np

    from core.network.activations import CPU_BATCH, compile_pass
    from core.network.catalogue import catalogue, select_default_layers
    from core.network.models.registry import load_network
    from core.network.passes import Pass

    network = load_network("efficientnet-lite0", "none")
    layers = tuple(select_default_layers(catalogue(network.model)))
    forward = compile_pass(network, Pass(layers, 0), poolings=("mean",), batch_size=CPU_BATCH)
    images = np.random.default_rng(0).uniform(0, 255, (CPU_BATCH, *network.input_size, 3)).astype(np.float32)
    np.asarray(forward(images)[-1])  # the first call compiles the graph
    seconds = []
    for _ in range(_BATCHES):
        start = time.perf_counter()
        np.asarray(forward(images)[-1])
        seconds.append(time.perf_counter() - start)
    return min(seconds) / CPU_BATCH


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_measure()) + "\n")
