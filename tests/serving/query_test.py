"""`python -m serving.query` in a process of its own, with a snapshot and a real server."""

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from schemas.contract import SNAPSHOT_POINTER
from schemas.contract import SNAPSHOT_SCHEMA

ROOT = Path(__file__).parents[2]
USERS = {
    "u1": {
        "country": "DE",
        "history_item_id": ["item-3", "item-5"],
        "history_event": ["purchase", "click"],
        "history_age_days": [1.0, 20.0],
        "left_the_model": 3,
    },
    "u2": {"country": "FR"},
    "u3": {"history_item_id": ["item-3", "item-5", "item-3", "gone"], "history_age_days": [1.0, 2.0, 3.0, 4.0]},
}
ITEMS = [
    ("item-3", "Große Teekanne 茶壶", "Muster & Söhne", "home > kitchen", 1234.5),
    ("item-5", "A very long title " * 20, None, "home", None),
    ("item-0", None, "Acme", None, 2.0),
    ("item-1", "Cup", "Muster & Söhne", "home", 3.0),
]
# What each item has in common with u3's history: the item, its category and its advertiser occur so often.
IN_HISTORY = {"item-3": (2, 2, 2), "item-5": (1, 1, 0), "item-1": (0, 1, 2)}
NOTICE = "Simulated data, for education."


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    path = tmp_path_factory.mktemp("snapshot") / "users 1.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(SNAPSHOT_SCHEMA)
        connection.executemany("INSERT INTO users VALUES (?, ?)", [(user, json.dumps(USERS[user])) for user in USERS])
        connection.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?)", ITEMS)
        connection.execute("INSERT INTO meta VALUES ('notice', ?)", (NOTICE,))
    return path


def query_process(*flags, cache, server, **options):
    command = [sys.executable, "-m", "serving.query", f"--server={server}", *map(str, flags)]
    environment = os.environ | {"XDG_CACHE_HOME": str(cache), "PYTHONIOENCODING": "utf-8"}
    environment.pop("COLUMNS", None)
    return {"args": command, "cwd": ROOT, "env": environment, "encoding": "utf-8"} | options


def query(*flags, cache, server="127.0.0.1:1"):
    done = subprocess.run(**query_process(*flags, cache=cache, server=server, capture_output=True, timeout=60))
    return done.returncode, done.stdout, done.stderr


def test_a_version_or_a_label_may_be_asked_for(model_server, snapshot, tmp_path):
    flags = ("--user=u2", "--k=1", "--json", f"--snapshot={snapshot}")

    def asked(*chosen):
        return query(*flags, *chosen, server=model_server.address, cache=tmp_path)

    status, out, _ = asked("--version=1")
    assert (status, json.loads(out)["answers"][0]["index_version"]) == (0, "1")
    status, _, err = asked("--version=99")
    assert (status, "Servable not found for request: Specific(retriever, 99)" in err) == (1, True)
    status, _, err = asked("--version_label=canary")
    assert (status, "label: canary" in err) == (1, True)


def test_history_titles_and_answer_are_shown(model_server, snapshot, toy, tmp_path):
    flags = ("--user=u1", "--k=5", f"--snapshot={snapshot}")
    status, out, err = query(*flags, server=model_server.address, cache=tmp_path)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "User u1: country=DE, left_the_model=3"
    assert max(map(len, lines)) <= 110
    history = lines[lines.index("Recent history (2 of 2, newest first)") + 2 :][:2]
    assert history[0].split() == ["purchase", "item-3", "Große", "Teekanne", "茶壶", "home", ">", "kitchen", "1.0"]
    assert history[1].startswith("click     item-5  A very long title A very")
    assert "…" in history[1]
    item_ids, scores = toy.retrieve(USERS["u1"], version=1, k=5)
    retrieved = lines[lines.index("Retrieved") + 2 :][:5]
    assert [line.split()[:2] for line in retrieved] == [
        [str(rank), item_id] for rank, item_id in enumerate(item_ids, start=1)
    ]
    assert [line.endswith("again") for line in retrieved] == [item_id in ("item-3", "item-5") for item_id in item_ids]
    (teapot,) = (line for line in retrieved if "item-3" in line)
    score = f"{scores[item_ids.index('item-3')]:.4f}"
    assert teapot.split()[-6:] == ["Muster", "&", "Söhne", "1,234.50", score, "again"]
    assert "Model version towers-1, index version 1" in lines
    assert lines[-1] == NOTICE


def test_two_users_by_the_pointer_file_as_json(model_server, snapshot, toy, tmp_path):
    pointer = tmp_path.joinpath(*SNAPSHOT_POINTER)
    pointer.parent.mkdir()
    pointer.write_text(f"{snapshot}\n")
    status, out, err = query("--user=u1", "--user=u2", "--k=3", "--json", server=model_server.address, cache=tmp_path)
    assert (status, err) == (0, "")
    answered = json.loads(out)
    assert answered["notice"] == NOTICE
    assert [answer["user"] for answer in answered["answers"]] == ["u1", "u2"]
    for answer in answered["answers"]:
        expected, scores = toy.retrieve(USERS[answer["user"]], version=1, k=3)
        assert [item["item_id"] for item in answer["items"]] == expected
        assert [item["score"] for item in answer["items"]] == pytest.approx(scores.tolist(), abs=1e-6)
        assert (answer["model_version"], answer["index_version"]) == ("towers-1", "1")


def test_features_from_a_file_need_no_snapshot(model_server, toy, tmp_path):
    features = tmp_path / "features.json"
    features.write_text(json.dumps([{"country": "FR"}, {}]))
    flags = (f"--features={features}", "--k=20")
    status, out, err = query(*flags, server=model_server.address, cache=tmp_path)
    assert (status, err) == (0, "")
    assert out.count("8 of the 20 items asked for: no more are left.") == 2
    assert out.count("No history") == 2
    first = out.splitlines()[out.splitlines().index("Retrieved") + 2]
    assert first.split()[1] == toy.retrieve({"country": "FR"}, version=1, k=1)[0][0]


def test_unknown_feature_in_a_file_is_refused(model_server, tmp_path):
    features = tmp_path / "features.json"
    features.write_text(json.dumps({"land": "FR"}))
    status, out, err = query(f"--features={features}", server=model_server.address, cache=tmp_path)
    assert (status, out) == (1, "")
    assert err.startswith("query: unknown features: land; the served model knows: country, ")


def test_unknown_user_is_refused_with_examples(snapshot, tmp_path):
    status, out, err = query("--user=u9", f"--snapshot={snapshot}", cache=tmp_path)
    assert (status, out) == (1, "")
    assert err == "query: unknown user 'u9'; the snapshot has 3 users, such as u1, u2, u3\n"


def test_missing_snapshot_is_named(tmp_path):
    _, _, none_known = query("--user=u1", cache=tmp_path)
    assert "latest_snapshot does not exist); run the pipeline, or name one with --snapshot" in none_known
    _, _, wrong_path = query("--user=u1", f"--snapshot={tmp_path / 'gone'}", cache=tmp_path)
    assert wrong_path == f"query: no snapshot at {tmp_path / 'gone'}; run the pipeline, or name one with --snapshot\n"


def test_file_that_is_no_snapshot_is_refused(tmp_path):
    (tmp_path / "text").write_text("not a database, " * 100)
    status, _, err = query("--user=u1", f"--snapshot={tmp_path / 'text'}", cache=tmp_path)
    assert status == 1
    assert err == f"query: {tmp_path / 'text'} is not a user snapshot: file is not a database\n"


def test_unreachable_server_says_how_to_start_one(snapshot, tmp_path):
    status, _, err = query("--user=u2", f"--snapshot={snapshot}", cache=tmp_path)
    assert status == 1
    assert "start it with python -m serving.model_server" in err


def test_explained_items_are_compared_with_the_history(model_server, snapshot, tmp_path):
    flags = ("--user=u3", "--k=8", "--explain", f"--snapshot={snapshot}")
    status, out, err = query(*flags, server=model_server.address, cache=tmp_path)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 110
    start = lines.index("In the history: category 3 of 8 (38%), advertiser 2 of 8 (25%), item 2 of 8 (25%)")
    shown = {line.split()[1]: tuple(map(int, line.split()[-3:])) for line in lines[start + 2 : start + 10]}
    assert shown == {f"item-{number}": IN_HISTORY.get(f"item-{number}", (0, 0, 0)) for number in range(8)}


def test_explained_json_has_the_counts(model_server, snapshot, tmp_path):
    flags = ("--user=u3", "--user=u2", "--k=8", "--explain", "--json", f"--snapshot={snapshot}")
    status, out, err = query(*flags, server=model_server.address, cache=tmp_path)
    assert (status, err) == (0, "")
    some, none = json.loads(out)["answers"]
    assert some["num_in_history"] == {"item": 2, "category": 3, "advertiser": 2}
    assert none["num_in_history"] == {"item": 0, "category": 0, "advertiser": 0}
    counts = {item["item_id"]: tuple(item["in_history"].values()) for item in some["items"]}
    assert {item_id: count for item_id, count in counts.items() if any(count)} == IN_HISTORY


def test_explaining_needs_a_snapshot(model_server, tmp_path):
    features = tmp_path / "features.json"
    features.write_text("{}")
    status, out, err = query(f"--features={features}", "--explain", server=model_server.address, cache=tmp_path)
    assert (status, out) == (1, "")
    assert "no snapshot is known" in err


def wait_for(path, text, *, timeout_s=60):
    deadline_s = time.monotonic() + timeout_s
    while text not in path.read_text(encoding="utf-8"):
        assert time.monotonic() < deadline_s, path.read_text(encoding="utf-8")
        time.sleep(0.02)


def test_watch_answers_again_for_every_version_and_outlives_the_server(
    model_server, start_relay, snapshot, toy, tmp_path
):
    relay = start_relay()
    flags = ("--user=u2", "--k=1", "--watch", "--watch_interval_s=0.1", "--timeout_s=1", f"--snapshot={snapshot}")
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("w") as out_file, err.open("w") as err_file:
        process = subprocess.Popen(
            **query_process(*flags, cache=tmp_path, server=relay.address, stdout=out_file, stderr=err_file),
            # A shell makes what it runs in the background ignore Ctrl-C, and that is inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        wait_for(out, "Model version towers-1, index version 1\n")
        relay.stop()
        wait_for(err, "query: still watching: ")
        start_relay(port=relay.port)
        model_server.publish(toy, 2)
        wait_for(out, "Model version towers-2, index version 2\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
        model_server.wait_for_line("^Serving retriever version 2 at ")
        model_server.remove(2)
        model_server.wait_for_line("^Serving retriever version 1 at ")
    printed = out.read_text(encoding="utf-8")
    assert re.findall(r"^\d\d:\d\d:\d\d (Serving .*)", printed, re.MULTILINE) == [
        "Serving version 1",
        "Serving version 2 (before: 1)",
    ]
    best = [toy.retrieve(USERS["u2"], version=version, k=1)[0][0] for version in (1, 2)]
    assert re.findall(r"^ +1  (\S+)", printed, re.MULTILINE) == best
    assert err.read_text(encoding="utf-8").count("still watching") == 1


def test_watch_of_no_server_ends_with_the_reason(snapshot, tmp_path):
    flags = ("--user=u2", "--watch", "--timeout_s=0.3", f"--snapshot={snapshot}")
    status, out, err = query(*flags, cache=tmp_path)
    assert (status, out) == (1, "")
    assert "no answer from 127.0.0.1:1 in 0.3 s, retries included: check that it runs" in err
