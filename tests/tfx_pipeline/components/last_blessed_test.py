import pytest
from tfx.types.standard_artifacts import Model
from tfx.types.standard_artifacts import ModelBlessing

from tfx_pipeline.components.last_blessed import LastBlessed


def model(number):
    artifact = Model()
    artifact.id = number
    return artifact


def blessing(of, *, blessed=1):
    artifact = ModelBlessing()
    artifact.set_int_custom_property("blessed", blessed)
    artifact.set_int_custom_property("current_model_id", of)
    return artifact


@pytest.mark.parametrize(
    ("blessings", "expected"),
    [
        ([], []),  # a first run
        ([blessing(2)], [2]),
        ([blessing(2), blessing(4), blessing(5, blessed=0)], [4]),  # a refused one is not what is replaced
        ([blessing(4), blessing(2)], [4]),
        ([blessing(2), blessing(6)], [2]),  # not the candidate itself: a run that was killed after its blessing
        ([blessing(2), blessing(7)], [2]),  # nor a later one: a run that is repeated from the cache
    ],
)
def test_the_last_one_blessed_before_the_candidate_is_found(blessings, expected):
    given = {"candidate": [model(6)], "model": [model(number) for number in (7, 5, 6, 2, 4)], "blessing": blessings}
    found = LastBlessed().resolve_artifacts(None, given)
    assert [artifact.id for artifact in found["model"]] == expected
    assert found["candidate"] == given["candidate"]
