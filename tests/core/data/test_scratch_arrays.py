"""Matrices in files: made at need, gone with the process, whether it ends by itself or is killed."""

import signal
import subprocess
import sys

import numpy as np
import pytest

from core.data.scratch_arrays import ScratchArrays


def test_files_last_as_long_as_they_are_needed(tmp_path):
    folder = tmp_path / "made" / "at need"
    with ScratchArrays(folder) as files:
        assert not folder.exists()
        first, second = files.new((3, 2)), files.new((4,))
        first[:], second[:] = 1, 2
        assert (first.dtype, second.dtype) == (np.float32, np.float32)
        assert all(isinstance(array, np.memmap) for array in (first, second))
        assert folder.exists()
        files.remove(first)
        files.remove(np.zeros(2, np.float32))
        assert first.sum() == 6
    assert second.sum() == 8
    assert list(folder.iterdir()) == []
    files.close()
    assert files.new((1,)).shape == (1,)
    files.close()


def test_files_go_where_their_reader_fails(tmp_path):
    try:
        with ScratchArrays(tmp_path) as files:
            files.new((2, 2))
            raise OSError("no room")
    except OSError:
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="files without names do not exist there")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_of_a_process_that_is_killed(tmp_path, number):
    code = f"""
import os, pathlib
from core.data.scratch_arrays import ScratchArrays
with ScratchArrays(pathlib.Path({str(tmp_path)!r})) as files:
    array = files.new((100, 100))
    array[:] = 1
    os.kill(os.getpid(), {int(number)})
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -number
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"spool must be a folder that can be written to; got .*file, which is a file"):
        ScratchArrays(tmp_path / "file").new((1,))
