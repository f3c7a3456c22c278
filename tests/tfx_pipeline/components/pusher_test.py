import shutil

import pytest

from tfx_pipeline.components import pusher
from tfx_pipeline.rollback import serve


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model/variables").mkdir(parents=True)
    (tmp_path / "model/saved_model.pb").write_text("graph")
    (tmp_path / "model/variables/data").write_text("weights")
    return tmp_path / "model"


@pytest.fixture
def whole_model(model):
    """With the names that a SavedModel's files have."""
    for name in ("variables.index", "variables.data-00000-of-00001"):
        (model / "variables" / name).touch()
    return model


def push(model, base, version, *, kept_versions=3):
    return pusher.push(model, base, version, kept_versions=kept_versions)


def names(base):
    return sorted(path.name for path in base.iterdir())


def test_a_model_is_copied_under_its_version(model, tmp_path):
    target = push(model, tmp_path / "deep/serving", "20260102030405")
    assert target == tmp_path / "deep/serving/20260102030405"
    assert (target / "variables/data").read_text() == "weights"
    assert names(target.parent) == ["20260102030405"]


def test_a_crash_leaves_no_version_and_the_next_push_mends_it(model, tmp_path, monkeypatch):
    base = tmp_path / "serving"
    push(model, base, "1")
    copytree = shutil.copytree

    def crash(source, target):
        copytree(source, target, ignore=lambda folder, found: ["variables"])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", crash)
        with pytest.raises(KeyboardInterrupt):
            push(model, base, "2")
    assert [name for name in names(base) if name.isdigit()] == ["1"]
    assert (push(model, base, "2") / "variables/data").exists()
    assert names(base) == ["1", "2"]


def test_the_newest_three_versions_are_kept_by_number(model, tmp_path):
    for version in ("8", "9", "10", "11"):
        push(model, tmp_path / "serving", version)
    assert names(tmp_path / "serving") == ["10", "11", "9"]


@pytest.mark.parametrize(("kept_versions", "expected"), [(1, ["11"]), (2, ["10", "11"]), (9, ["10", "11", "8", "9"])])
def test_as_many_are_kept_as_asked_for(model, tmp_path, kept_versions, expected):
    for version in ("8", "9", "10", "11"):
        push(model, tmp_path / "serving", version, kept_versions=kept_versions)
    assert names(tmp_path / "serving") == expected


def test_versions_that_a_rollback_put_aside_count_and_the_served_one_stays(whole_model, tmp_path):
    base = tmp_path / "serving"
    for version in ("8", "9", "10"):
        push(whole_model, base, version)
    serve(base, 8)
    push(whole_model, base, "7")  # the newest three are put aside or served, and so is what was pushed
    assert names(base) == ["7", "8", "retired-10", "retired-9"]
    push(whole_model, base, "11")
    assert names(base) == ["11", "retired-10", "retired-9"]


def test_a_push_does_not_undo_a_rollback(whole_model, tmp_path):
    base = tmp_path / "serving"
    for version in ("8", "9"):
        push(whole_model, base, version)
    serve(base, 8)
    with pytest.raises(ValueError, match=r"Version 9 was put aside by a rollback: .*/retired-9. Serve it again"):
        push(whole_model, base, "9")
    assert names(base) == ["8", "retired-9"]


def test_an_older_version_that_is_pushed_again_is_not_dropped_at_once(model, tmp_path):
    for version in ("8", "9", "10", "7"):
        push(model, tmp_path / "serving", version)
    assert "7" in names(tmp_path / "serving")


def test_a_version_never_changes(model, tmp_path):
    first = push(model, tmp_path / "serving", "5")
    (model / "saved_model.pb").write_text("another graph")
    assert push(model, tmp_path / "serving", "5") == first
    assert (first / "saved_model.pb").read_text() == "graph"


@pytest.mark.parametrize("version", ["", "0", "-1", "1.5", "v2", "٣", "1\n"])
def test_a_version_that_is_no_positive_integer_is_refused(model, tmp_path, version):
    with pytest.raises(ValueError, match=r"The retriever's version must be a positive integer. Received: "):
        push(model, tmp_path / "serving", version)
