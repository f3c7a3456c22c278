"""The life of versions, with a loader that reads a text file in place of TensorFlow."""

import pytest

from serving.versions import LoadError
from serving.versions import ModelVersions
from serving.versions import State
from serving.versions import VersionNotFoundError


def load(path):
    text = (path / "model").read_text()
    if text == "broken":
        raise LoadError("truncated", code=15)
    return text


def write(base_path, number, text):
    (base_path / str(number)).mkdir(exist_ok=True)
    (base_path / str(number) / "model").write_text(text)


@pytest.fixture
def versions(tmp_path):
    return ModelVersions(tmp_path, load)


def states(versions):
    return {status.number: status.state for status in versions.statuses()}


def test_nothing_is_served_before_a_version_is_there(versions, tmp_path):
    (tmp_path / ".tmp-4").mkdir()
    (tmp_path / "latest").mkdir()
    (tmp_path / "3").write_text("a file, not a version")
    assert versions.poll() == []
    with pytest.raises(VersionNotFoundError), versions.use():
        pass


def test_missing_base_path_is_an_empty_one(tmp_path):
    assert ModelVersions(tmp_path / "later", load).poll() == []


def test_newest_number_wins_not_the_last_in_the_alphabet(versions, tmp_path):
    write(tmp_path, 9, "nine")
    write(tmp_path, 10, "ten")
    assert [(status.number, status.state) for status in versions.poll()] == [(10, State.AVAILABLE)]
    with versions.use() as served:
        assert served == (10, "ten")
    assert states(versions) == {10: State.AVAILABLE}


def test_old_version_is_unloaded_when_its_last_request_is_done(versions, tmp_path):
    write(tmp_path, 1, "one")
    versions.poll()
    with versions.use() as first:
        write(tmp_path, 2, "two")
        versions.poll()
        with versions.use() as second:
            assert (first, second) == ((1, "one"), (2, "two"))
        assert states(versions) == {2: State.AVAILABLE, 1: State.UNLOADING}
    assert states(versions) == {2: State.AVAILABLE, 1: State.END}


def test_only_the_serving_version_can_be_named(versions, tmp_path):
    write(tmp_path, 1, "one")
    write(tmp_path, 2, "two")
    versions.poll()
    with versions.use(2) as served:
        assert served == (2, "two")
    with pytest.raises(VersionNotFoundError), versions.use(1):
        pass


def test_failed_version_replaces_nothing_and_is_tried_again_only_when_changed(versions, tmp_path):
    write(tmp_path, 1, "one")
    versions.poll()
    write(tmp_path, 2, "broken")
    (failed,) = versions.poll()
    assert (failed.number, failed.state, failed.error_code, failed.error) == (2, State.END, 15, "truncated")
    assert versions.poll() == []
    assert states(versions) == {2: State.END, 1: State.AVAILABLE}
    write(tmp_path, 2, "whole now")
    assert [status.state for status in versions.poll()] == [State.AVAILABLE]
    with versions.use() as served:
        assert served == (2, "whole now")


def test_older_version_serves_while_the_newest_is_broken_at_the_start(versions, tmp_path):
    write(tmp_path, 1, "one")
    write(tmp_path, 2, "broken")
    assert [(status.number, status.state) for status in versions.poll()] == [(2, State.END), (1, State.AVAILABLE)]


def test_removed_version_falls_back_to_the_newest_left(versions, tmp_path):
    write(tmp_path, 1, "one")
    write(tmp_path, 2, "two")
    versions.poll()
    (tmp_path / "2").rename(tmp_path / "removed")
    assert [(status.number, status.state) for status in versions.poll()] == [(1, State.AVAILABLE)]
    assert states(versions) == {2: State.END, 1: State.AVAILABLE}


def test_last_version_serves_on_when_its_files_are_removed(versions, tmp_path):
    write(tmp_path, 1, "one")
    versions.poll()
    (tmp_path / "1").rename(tmp_path / "removed")
    assert versions.poll() == []
    with versions.use() as served:
        assert served == (1, "one")
