import json
import re
from datetime import datetime
from datetime import timezone
from pathlib import Path

import pytest
from retriever_record import record

from tfx_pipeline import rollback
from tfx_pipeline.root_lock import locked


@pytest.fixture
def root(tmp_path):
    """A root with the versions 1, 2 and 3."""
    for number in (1, 2, 3):
        add(tmp_path / "serving/retriever" / str(number))
    return tmp_path


def add(path):
    (path / "variables").mkdir(parents=True)
    for name in ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"):
        (path / name).write_text(path.name)


def names(root):
    return sorted(path.name for path in (root / "serving/retriever").iterdir())


def run(root, *arguments):
    return rollback.main([f"--root={root}", *arguments])


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([1], ["1", "retired-2", "retired-3"]),
        ([2], ["1", "2", "retired-3"]),
        ([2, 1], ["1", "retired-2", "retired-3"]),
        ([1, 3], ["1", "3", "retired-2"]),  # what nobody asked for stays aside
        ([1, 2], ["1", "2", "retired-3"]),
        ([1, 3, 2], ["1", "2", "retired-3"]),
        ([3], ["1", "2", "3"]),
    ],
)
def test_the_wanted_version_becomes_the_largest(root, steps, expected):
    for wanted in steps:
        assert run(root, f"--to={wanted}") == 0
    assert names(root) == expected
    served = root / "serving/retriever" / str(steps[-1])
    assert (served / "saved_model.pb").read_text() == str(steps[-1])


@pytest.mark.parametrize(("before", "wanted"), [(5, 1), (5, 4), (1, 5), (1, 3), (3, 5), (3, 1)])
def test_a_server_that_looks_after_any_step_finds_no_version_between(tmp_path, monkeypatch, before, wanted):
    for number in (1, 2, 3, 4, 5):
        add(tmp_path / str(number))
    rollback.serve(tmp_path, before)
    rename, largest = Path.rename, []

    def rename_and_look(path, target):
        rename(path, target)
        largest.append(max(int(found.name) for found in tmp_path.iterdir() if found.name.isdigit()))

    monkeypatch.setattr(Path, "rename", rename_and_look)
    assert rollback.serve(tmp_path, wanted) == before
    assert set(largest[:-1]) <= {before}
    assert largest[-1] == wanted


def test_a_rollback_is_recorded_and_one_to_what_is_served_is_none(root, capsys):
    before = datetime.now(timezone.utc).replace(microsecond=0)
    for wanted in (1, 1, 2):
        assert run(root, f"--to={wanted}") == 0
    lines = [json.loads(line) for line in (root / "serving/rollbacks.jsonl").read_text().splitlines()]
    assert [(line["from"], line["to"]) for line in lines] == [(3, 1), (1, 2)]
    assert before <= datetime.fromisoformat(lines[0]["time"]) <= datetime.now(timezone.utc)
    assert capsys.readouterr().out.splitlines() == [
        "Version 1 is served from a model server's next look on, before: 3. Put aside: 2, 3.",
        "Version 1 is served already.",
        "Version 2 is served from a model server's next look on, before: 1. Put aside: 3.",
    ]


def test_a_rollback_that_was_killed_half_way_goes_on(root):
    (root / "serving/retriever/2").rename(root / "serving/retriever/retired-2")
    assert run(root, "--to=1") == 0
    assert names(root) == ["1", "retired-2", "retired-3"]


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (4, "--to must be a version that is in .*retriever: 1, 2, 3. Received: 4"),
        (7, "--to must be a version that is whole in .*retriever: 1, 2, 3. Received: 7"),
        (2, "Version 2 is not whole, .*retriever/2 lacks variables/variables.data-00001-of-00002: copy it again."),
        (1, "Version 1 is not whole, .*retriever/1 lacks saved_model.pb: copy it again."),
    ],
)
def test_a_version_that_cannot_be_served_is_refused_and_nothing_moves(root, capsys, wanted, text):
    add(root / "serving/retriever/partial-7")
    (root / "serving/retriever/1/saved_model.pb").unlink()
    shard = root / "serving/retriever/2/variables/variables.data-00000-of-00001"
    shard.rename(shard.with_name("variables.data-00000-of-00002"))
    before = names(root)
    assert run(root, f"--to={wanted}") == 2
    assert re.fullmatch(f"error: {text}\n", capsys.readouterr().err)
    assert names(root) == before
    assert not (root / "serving/rollbacks.jsonl").exists()


def test_two_copies_of_a_version_are_refused(root, capsys):
    add(root / "serving/retriever/retired-2")
    assert run(root, "--to=1") == 2
    assert "A version must be in " in capsys.readouterr().err


def test_a_folder_without_versions_is_refused(tmp_path, capsys):
    assert run(tmp_path / "typo", "--list") == 2
    assert "error: --root must be the root of a run that pushed. Received: " in capsys.readouterr().err
    assert not (tmp_path / "typo").exists()


def test_a_root_in_which_a_run_works_is_left_alone(root, capsys):
    with locked(root):
        assert run(root, "--to=1") == 2
    assert f"Another run is working in {root}." in capsys.readouterr().err
    assert names(root) == ["1", "2", "3"]


def test_the_list_shows_what_the_folder_and_ml_metadata_know(root, capsys):
    record(root, version="3", properties={"model_version": "1", "index_kind": "scann"})
    record(root, version="1", properties={"index_kind": "exact"})  # from before model_version
    run(root, "--to=2")
    capsys.readouterr()
    assert run(root, "--list") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["index_version", "state", "model_version", "kind", "run", "pushed"]
    assert [row[:5] for row in rows[1:]] == [
        ["3", "retired", "1", "scann", "run-3"],
        ["2", "served", "?", "?", "?"],
        ["1", "kept", "1", "exact", "run-1"],
    ]
    assert rows[1][5] == f"{datetime.now(timezone.utc):%Y-%m-%d}"
