"""Models found by name, version and label, while the config changes; models are text files, without TensorFlow graphs."""

from pathlib import Path

import grpc
import pytest
from tensorflow_serving.apis import model_pb2

from serving.model_config import ModelConfig
from serving.model_requests import RequestError
from serving.model_requests import ServedModels
from serving.version_folders import VersionPolicy
from serving.versions import State

ALL = VersionPolicy(limit=None)


def load(path):
    return f"model of {path.name}"


def spec(name="shop", *, version=None, label=None):
    asked = model_pb2.ModelSpec(name=name)
    if version is not None:
        asked.version.value = version
    if label is not None:
        asked.version_label = label
    return asked


def served(models, asked):
    with models.use(asked) as held:
        return held


def refusal(call, *arguments):
    with pytest.raises(RequestError) as caught:
        call(*arguments)
    return caught.value.code, caught.value.text


@pytest.fixture
def models(tmp_path):
    """Versions 1 and 2 of `shop`."""
    for number in (1, 2):
        (tmp_path / "shop" / str(number)).mkdir(parents=True)
    models = ServedModels(load)
    models.configure([ModelConfig("shop", tmp_path / "shop", policy=ALL)])
    models.versions("shop").poll()
    return models


def relabel(models, **labels):
    (config,) = models.configs()
    models.configure([ModelConfig("shop", config.base_path, policy=ALL, labels=labels)])


def test_version_is_found_by_number_by_label_or_as_the_newest(models):
    relabel(models, stable=1, canary=2)
    assert served(models, spec()) == (2, "model of 2")
    assert served(models, spec(version=1)) == (1, "model of 1")
    assert served(models, spec(label="stable")) == (1, "model of 1")
    relabel(models, stable=2)
    assert served(models, spec(label="stable")) == (2, "model of 2")
    expected = (grpc.StatusCode.INVALID_ARGUMENT, "Unrecognized servable version label: canary")
    assert refusal(served, models, spec(label="canary")) == expected
    assert refusal(served, models, spec("other", label="canary")) == expected


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (spec("other"), "Latest(other)"),
        (spec(version=3), "Specific(shop, 3)"),
        (spec(version=-1), "Specific(shop, -1)"),
        (spec("../shop"), "Latest(../shop)"),
    ],
)
def test_what_does_not_serve_is_not_found(models, asked, text):
    expected = (grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {text}")
    assert refusal(served, models, asked) == expected


def test_label_of_a_version_that_does_not_serve_is_refused_and_nothing_changes(models):
    relabel(models, stable=1)
    text = "Request to assign label to version 9 of model shop, which is not currently available for inference"
    with pytest.raises(RequestError) as caught:
        relabel(models, stable=2, canary=9)
    assert (caught.value.code, caught.value.text) == (grpc.StatusCode.FAILED_PRECONDITION, text)
    assert served(models, spec(label="stable")) == (1, "model of 1")


def test_new_label_may_wait_for_its_version_if_allowed_but_may_not_move_there(models):
    lenient = ServedModels(load, allow_unavailable_labels=True)
    (config,) = models.configs()
    lenient.configure([config])
    relabel(lenient, stable=1)
    expected = (grpc.StatusCode.NOT_FOUND, "Servable not found for request: Specific(shop, 1)")
    assert refusal(served, lenient, spec(label="stable")) == expected
    lenient.versions("shop").poll()
    assert served(lenient, spec(label="stable")) == (1, "model of 1")
    with pytest.raises(RequestError, match="label to version 9 of model shop"):
        relabel(lenient, stable=9)


def test_removed_model_drains_is_remembered_and_can_come_back(models):
    (config,) = models.configs()
    with models.use(spec(version=2)) as held:
        models.configure([])
        text = "Servable not found for request: Latest(shop)"
        assert refusal(served, models, spec()) == (grpc.StatusCode.NOT_FOUND, text)
        assert held == (2, "model of 2")
        assert [status[:2] for status in models.statuses(spec())] == [(2, State.UNLOADING), (1, State.END)]
    assert [status[:2] for status in models.statuses(spec())] == [(2, State.END), (1, State.END)]
    models.configure([config])
    models.versions("shop").poll()
    assert served(models, spec()) == (2, "model of 2")


def test_status_is_of_all_versions_or_of_the_one_named_by_number(models):
    assert [status.number for status in models.statuses(spec())] == [2, 1]
    assert [status.number for status in models.statuses(spec(version=1))] == [1]
    assert [status.number for status in models.statuses(spec(label="any"))] == [2, 1]


def test_dropped_models_are_freed_although_they_refer_to_themselves(tmp_path):
    class Cycle:
        alive = 0

        def __init__(self, _: Path):
            Cycle.alive += 1
            self.itself = self

        def __del__(self):
            Cycle.alive -= 1

    (tmp_path / "1").mkdir()
    models = ServedModels(Cycle)
    models.configure([ModelConfig("shop", tmp_path)])
    models.versions("shop").poll()
    models.collect_garbage()
    assert Cycle.alive == 1
    models.configure([])
    models.collect_garbage()
    assert Cycle.alive == 0
