import json

import pytest

from tfx_pipeline.report.runs import find_run
from tfx_pipeline.report.runs import read_last


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "a root"
    (folder / "pushed").mkdir(parents=True)
    for name, number in {"metrics": 3, "pushed/7": 1, "pushed/11": 2}.items():
        (folder / f"{name}.json").write_text(json.dumps({"num_items": number}))
    return folder


def test_a_run_is_a_version_the_last_a_file_or_a_root(root, tmp_path):
    named = {"7": ("7", 1), "11": ("11", 2), "last": ("last", 3), str(root): ("a_root", 3)}
    named |= {str(root / "metrics.json"): ("a_root", 3), str(root / "pushed/7.json"): ("7", 1)}
    for text, (name, number) in named.items():
        found = find_run(root, text)
        assert (found.name, found.metrics["num_items"]) == (name, number)


@pytest.mark.parametrize("text", ["8", "no such folder", "."])
def test_an_unknown_run_lists_the_known_ones(root, text, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=rf"\(7, 11, last\).* Received: '{text}'"):
        find_run(root, text)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "readable JSON"), ("[1]", "a JSON object.*with a list"), (None, "No such file")]
)
def test_an_unreadable_file_is_named(tmp_path, text, message):
    if text is not None:
        (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_last(tmp_path)
