"""core.search.devices: which devices there are, said without loading TensorFlow."""

import subprocess
import sys


def test_the_processor_is_described_without_tensorflow():
    code = (
        "import sys; from core.search.devices import describe_devices as d; "
        "(cpu,) = d(); assert cpu['device'] == 'CPU' and cpu['cores'] >= 1 and cpu['multiplies'] and cpu['name']; "
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
