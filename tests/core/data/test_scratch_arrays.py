"""Matrices in files: made at need, removed one by one and all together."""

import numpy as np

from core.data.scratch_arrays import ScratchArrays


def test_files_last_as_long_as_they_are_needed(tmp_path):
    folder = tmp_path / "made" / "at need"
    with ScratchArrays(folder) as files:
        assert not folder.exists()
        first, second = files.new((3, 2)), files.new((4,))
        first[:], second[:] = 1, 2
        assert (first.dtype, second.dtype) == (np.float32, np.float32)
        assert len(list(folder.glob("*/*.npy"))) == 2
        files.remove(first)
        files.remove(np.zeros(2, np.float32))
        assert len(list(folder.glob("*/*.npy"))) == 1
        assert first.sum() == 6
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
