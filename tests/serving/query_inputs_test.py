"""Features to tensors: padding, alignment and missing values, without a server."""

import math

import pytest

from serving import tensor_values
from serving.query_inputs import InputSpec
from serving.query_inputs import encode_features
from serving.query_inputs import read_features
from serving.wire import DataType

SPECS = {
    "age": InputSpec(DataType.FLOAT, None),
    "history_item_id": InputSpec(DataType.STRING, -1),
    "history_age_days": InputSpec(DataType.FLOAT, -1),
    "tags": InputSpec(DataType.STRING, -1),
    "vector": InputSpec(DataType.FLOAT, 3),
}


def encoded(users):
    tensors = encode_features(users, SPECS, ignore_unknown=False)
    return {name: tensor_values.decode(proto) for name, proto in tensors.items()}


def test_histories_get_the_width_of_the_longest_and_other_lists_their_own():
    tensors = encoded([{"history_item_id": ["a", "b", "c"]}, {"history_age_days": [1], "tags": ["x", "y"]}])
    assert tensors["history_item_id"].rows() == [[b"a", b"b", b"c"], [b"", b"", b""]]
    assert tensors["history_age_days"].shape == (2, 3)
    assert tensors["history_age_days"].rows()[1][0] == 1.0
    assert sum(map(math.isnan, tensors["history_age_days"].values)) == 5
    assert tensors["tags"].rows() == [[b"", b""], [b"x", b"y"]]


def test_absent_features_are_missing_and_lists_have_one_column():
    tensors = encoded([{}])
    assert math.isnan(tensors["age"].values[0])
    assert tensors["history_item_id"] == ([b""], (1, 1))
    assert tensors["vector"].shape == (1, 3)


def test_list_longer_than_a_fixed_width_is_refused():
    with pytest.raises(ValueError, match=r"^feature vector has at most 3 values\. Received: 4$"):
        encoded([{"vector": [1, 2, 3, 4]}])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot read the features of users: .*No such file"),
        (b"\xff", "cannot read the features of users: .*utf-8"),
        (b"{", "features.json is not JSON: Expecting property name"),
        (b"[]", "must hold an object of named inputs, or a list of them that is not empty"),
        (b"[1]", "must hold an object of named inputs, or a list of them that is not empty"),
    ],
)
def test_a_file_that_holds_no_users_is_refused(tmp_path, content, reason):
    path = tmp_path / "features.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        read_features(path)
