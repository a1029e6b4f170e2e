"""What all tests share: the data beside the project, and the rule for tests that need it."""

import os
import resource
import sys
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"

LARGEST_FILE_BYTES = 4 << 30
MAIN_MODULE = sys.modules["__main__"]


def pytest_configure() -> None:
    """No test, and no process that it starts, may fill the disk: an endless copy fails with "File too large"."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if soft == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE_BYTES, hard))


def pytest_runtest_setup() -> None:
    """Streamlit's test driver leaves its page as the main module, which processes of later tests would run."""
    sys.modules["__main__"] = MAIN_MODULE


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `shared` are listed as not run where ../shared is missing, or fail with REQUIRE_SHARED=1."""
    if SHARED.is_dir() or os.environ.get("REQUIRE_SHARED") == "1":
        return
    missing = pytest.mark.skip(reason=f"needs {SHARED}, which is not here (REQUIRE_SHARED=1 makes this a failure)")
    for item in items:
        if "shared" in item.keywords:
            item.add_marker(missing)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder beside the project with real images and reference numbers."""
    assert SHARED.is_dir(), f"{SHARED} is missing, and REQUIRE_SHARED=1 asks for the tests that need it"
    return SHARED


@pytest.fixture(scope="session")
def dogs_dir(shared_dir: Path) -> Path:
    """Real Stanford Dogs, 224 x 224, official split."""
    return shared_dir / "data" / "stanford_dogs_224"
