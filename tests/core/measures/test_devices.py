"""core.measures.devices: who multiplies, and that a product through TensorFlow leads to the same neighbors."""

import subprocess
import sys

import numpy as np

import core
from core.measures import devices, shortlist


def test_the_processor_is_described_without_tensorflow():
    code = (
        "import sys; from core.measures.devices import describe_devices as d; "
        "(cpu,) = d(); assert cpu['device'] == 'CPU' and cpu['cores'] >= 1 and cpu['multiplies'] and cpu['name']; "
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_products_through_tensorflow_give_the_same_neighbors(monkeypatch):
    import tensorflow as tf

    features = (3 + np.random.default_rng(0).normal(size=(300, 40))).astype(np.float32)
    expected = core.nearest_neighbors(features, k=3)
    asked = []

    def through_tensorflow(left, right, out=None):
        asked.append(left.dtype)
        return devices.tensorflow_product(left, right, "CPU:0")

    monkeypatch.setattr(shortlist, "TILE", 128)
    monkeypatch.setattr(shortlist, "product", through_tensorflow)
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    found = core.nearest_neighbors(features, k=3)
    assert tf.config.experimental.tensor_float_32_execution_enabled() == before
    assert asked
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.distances, expected.distances)


def test_a_product_is_that_of_the_first_with_the_transposed_second():
    left, right = np.float32([[1, 2], [3, 4]]), np.float32([[5, 6]])
    assert devices.product(left, right).tolist() == [[17], [39]]
