"""The life of versions, with a loader that reads a text file in place of TensorFlow."""

import collections
import concurrent.futures
import random
import threading
import time
import weakref

import pytest

from serving.version_folders import VersionPolicy
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


def test_version_is_unloaded_by_the_last_of_its_requests_not_the_first(versions, tmp_path):
    write(tmp_path, 1, "one")
    versions.poll()
    with versions.use():
        with versions.use():
            write(tmp_path, 2, "two")
            versions.poll()
        assert states(versions) == {2: State.AVAILABLE, 1: State.UNLOADING}
    assert states(versions) == {2: State.AVAILABLE, 1: State.END}


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        (VersionPolicy(), {5}),
        (VersionPolicy(limit=2), {5, 3}),  # 4 is broken and makes room for 3
        (VersionPolicy(limit=None), {5, 3, 2, 1}),
        (VersionPolicy(limit=None, numbers=frozenset({1, 3, 4, 9})), {3, 1}),
    ],
)
def test_policy_says_what_is_served(tmp_path, policy, served):
    for number, text in {1: "one", 2: "two", 3: "three", 4: "broken", 5: "five"}.items():
        write(tmp_path, number, text)
    versions = ModelVersions(tmp_path, load, policy=policy)
    versions.poll()
    assert versions.available() == served
    with versions.use() as (newest, _):
        assert newest == max(served)


def test_changed_policy_loads_first_and_then_unloads(versions, tmp_path):
    for number in (1, 2, 3):
        write(tmp_path, number, str(number))
    versions.poll()
    versions.configure(tmp_path, policy=VersionPolicy(limit=None, numbers=frozenset({7})))
    assert versions.poll() == []
    assert versions.available() == {3}  # better than none
    versions.configure(tmp_path, policy=VersionPolicy(limit=None, numbers=frozenset({1, 2})))
    assert [status.number for status in versions.poll()] == [2, 1]
    assert states(versions) == {3: State.END, 2: State.AVAILABLE, 1: State.AVAILABLE}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"limit": 0}, r"at least 1 version\. Received: 0$"),
        ({"numbers": frozenset()}, r"at least one\. Received: \[\]$"),
        ({"numbers": frozenset({-1, 2})}, r"whole numbers, at least one\. Received: \[-1, 2\]$"),
    ],
)
def test_policy_that_serves_nothing_is_refused(options, text):
    with pytest.raises(ValueError, match=text):
        VersionPolicy(**options)


def test_retired_versions_finish_their_requests(versions, tmp_path):
    write(tmp_path, 1, "one")
    versions.poll()
    with versions.use() as held:
        versions.retire()
        with pytest.raises(VersionNotFoundError), versions.use():
            pass
        assert held == (1, "one")
        assert states(versions) == {1: State.UNLOADING}
    assert states(versions) == {1: State.END}


class WatchedModels:
    """Loads models that take a while to be whole, and counts by itself what is in use when a model is freed."""

    def __init__(self):
        self.lock = threading.RLock()  # a model may be freed by whoever holds it
        self.in_use = collections.Counter()
        self.freed = {}

    def load(self, path):
        model = WatchedModel()
        weakref.finalize(model, self.free, int(path.name))
        time.sleep(0.002)
        model.is_whole = True
        return model

    def free(self, number):
        with self.lock:
            assert number not in self.freed
            self.freed[number] = self.in_use[number]

    def use(self, versions, pause_s):
        """One request; returns its version, whether the model was whole, and the version's state at the end."""
        with versions.use() as (number, model):
            with self.lock:
                self.in_use[number] += 1
            time.sleep(pause_s)
            is_whole, state = model.is_whole, states(versions)[number]
            with self.lock:
                self.in_use[number] -= 1
        return number, is_whole, state


class WatchedModel:
    is_whole = False


def test_requests_during_switches_see_only_whole_models_and_each_is_freed_by_its_last_request(tmp_path):
    watched, num_versions, seen = WatchedModels(), 40, [[] for _ in range(8)]
    versions = ModelVersions(tmp_path, watched.load)
    write(tmp_path, 1, "")
    versions.poll()
    done = threading.Event()

    def hammer(position):
        random_pauses = random.Random(position)
        while not done.is_set():
            seen[position].append(watched.use(versions, random_pauses.choice([0, 0.0005, 0.01])))

    with concurrent.futures.ThreadPoolExecutor(len(seen)) as threads:
        hammering = [threads.submit(hammer, position) for position in range(len(seen))]
        try:
            for number in range(2, num_versions + 1):
                write(tmp_path, number, "")
                versions.poll()
                time.sleep(0.005)
        finally:
            done.set()
        for request in hammering:
            request.result()  # raises what a request raised
    requests = [request for thread in seen for request in thread]
    assert {is_whole for _, is_whole, _ in requests} == {True}
    assert {state for _, _, state in requests} == {State.AVAILABLE, State.UNLOADING}
    for thread in seen:
        numbers = [number for number, _, _ in thread]
        assert numbers == sorted(numbers)  # traffic moves forward only
    assert len({number for number, _, _ in requests}) > num_versions / 2
    # Every version but the last is gone without another poll, and none was while a request was in it.
    assert watched.freed == dict.fromkeys(range(1, num_versions), 0)
    assert states(versions) == dict.fromkeys(range(1, num_versions), State.END) | {num_versions: State.AVAILABLE}
