import os

import pytest

from tfx_pipeline.atomic import write_text


def test_a_file_is_written_with_its_parents(tmp_path):
    write_text(tmp_path / "a/b/file.txt", "größer\n")
    assert (tmp_path / "a/b/file.txt").read_bytes() == b"gr\xc3\xb6\xc3\x9fer\n"
    assert [path.name for path in (tmp_path / "a/b").iterdir()] == ["file.txt"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def fail(descriptor):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="no space"):
            write_text(path, "new")
    assert path.read_text() == "old"
    write_text(path, "newer")
    assert path.read_text() == "newer"
    assert [found.name for found in tmp_path.iterdir()] == ["file.txt"]
