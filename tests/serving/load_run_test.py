"""Load on a real server: versions swapped under it without a wrong answer, and a server that is too slow for it."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from serving import load_report
from serving import load_run
from serving import load_test
from serving.load_checks import check
from serving.load_options import LoadOptions

ROOT = Path(__file__).parents[2]
USERS = [
    {"country": "DE", "history_item_id": ["item-3", "item-5"], "history_age_days": [1.0, 20.0]},
    {"country": "FR"},
    {"history_item_id": ["item-0"], "history_age_days": [3.0]},
]
K = 4
VERSIONS = (101, 102, 103)


@pytest.fixture(scope="module")
def users(tmp_path_factory):
    path = tmp_path_factory.mktemp("users") / "users.json"
    path.write_text(json.dumps(USERS))
    return path


def test_swaps_under_load_fail_no_request_and_every_answer_is_its_versions(model_server, toy, users, tmp_path):
    for version in VERSIONS:
        toy.save(tmp_path / str(version), version)
    before = set(model_server.base_path.iterdir())
    load = load_run.run(
        LoadOptions(
            server=model_server.address,
            features=users,
            rate=100,
            duration_s=2,
            k=K,
            swap=True,
            swap_base_path=model_server.base_path,
            swap_from=tmp_path,
            num_swaps=len(VERSIONS),
        )
    )
    model_server.wait_for_line("^Serving retriever version 103 at ")
    model_server.wait_for_line("^Serving retriever version 1 at ")
    assert set(model_server.base_path.iterdir()) == before
    assert load.swap_error == ""
    assert {outcome.error for outcome in load.outcomes} == {""}
    # A Poisson number of mean 200 at least: the load goes on until the last swap is done.
    assert len(load.outcomes) > 140
    expected = {
        (version, index): tuple(item_id.encode() for item_id in toy.retrieve(user, version=version, k=K)[0])
        for version in (1, *VERSIONS)
        for index, user in enumerate(USERS)
    }
    for outcome in load.outcomes:
        answer = outcome.answer
        assert answer.index_versions == (str(answer.version).encode(),)
        assert answer.item_ids == expected[answer.version, outcome.request]
    assert {outcome.answer.version for outcome in load.outcomes} == {1, *VERSIONS}
    assert check(load.outcomes, are_copies=False) == (len(load.outcomes), 0, [])
    assert [swap.version for swap in load.swaps] == list(VERSIONS)
    times_s = [time_s for swap in load.swaps for time_s in swap[1:]]
    assert times_s == sorted(times_s)


def test_a_load_that_is_too_much_is_neither_slowed_nor_hidden(model_server, users):
    """The oracle is the queue: one request in flight, and a burst of far more than one in the time of an answer."""
    load = load_run.run(
        LoadOptions(
            server=model_server.address,
            features=users,
            rate=4000,
            duration_s=0.25,
            arrivals="constant",
            max_in_flight=1,
        )
    )
    assert len(load.outcomes) == 1000
    np.testing.assert_allclose(sorted(outcome.due_s for outcome in load.outcomes), np.arange(1000) / 4000)
    errors = load_report.summary(load.outcomes, [], checked=check(load.outcomes, are_copies=False))["errors"]
    assert set(errors) == {"IN_FLIGHT_LIMIT"}
    assert 500 < errors["IN_FLIGHT_LIMIT"] < 1000


def test_command_writes_figures_and_plot(model_server, users, tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "serving.load_test", f"--server={model_server.address}", f"--features={users}"),
            *("--rate=100", "--duration_s=1", "--arrivals=constant", f"--out={tmp_path}", "--plot"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("100 requests, none failed; ")
    figures = json.loads((tmp_path / "load_test.json").read_text())
    assert (figures["num_answered"], figures["answers_by_version"]) == (100, {"1": 100})
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["p99.9"] == figures["latency_ms"]["max"]
    picture = ElementTree.parse(tmp_path / "load_test.svg").getroot()
    assert len(picture.findall("{http://www.w3.org/2000/svg}polyline")) == 2


def test_version_that_does_not_load_fails_no_request_and_is_said(model_server, users, tmp_path, capsys):
    (tmp_path / "200").mkdir()
    flags = [f"--server={model_server.address}", f"--features={users}", "--rate=50", "--duration_s=0.5", "--swap"]
    flags += [f"--swap_base_path={model_server.base_path}", f"--swap_from={tmp_path}", "--num_swaps=1"]
    assert load_test.main(flags) == 1
    out, err = capsys.readouterr()
    assert "none failed" in out
    assert "answered by version: 1 (" in out
    assert "load_test: version 200 was not taken: Could not find SavedModel .pb or .pbtxt" in err
    assert str(model_server.base_path / "200") in err


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--server=127.0.0.1:1"], "load_test: UNAVAILABLE: "),
        (["--num_swaps=1", "--swap_from={}"], "must hold 1 versions. Received: 0"),
    ],
)
def test_what_cannot_start_is_said_before_the_load(model_server, users, tmp_path, capsys, flags, text):
    given = [f"--server={model_server.address}", f"--features={users}", *(flag.format(tmp_path) for flag in flags)]
    swap = ["--swap", f"--swap_base_path={model_server.base_path}"]
    assert load_test.main([*given, *swap]) == 1
    assert text in capsys.readouterr().err
