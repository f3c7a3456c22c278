import string

import numpy as np
import pytest
import tensorflow as tf

from tfx_pipeline.examples.encode import encode

LETTERS = string.ascii_letters + 'éßñ日本語😀 >\0"'


def reference(attributes):
    """What TensorFlow's own message serializes to, parsed: the order of entries in a map is not defined."""
    example = tf.train.Example(features=tf.train.Features())
    for name, value in attributes.items():
        values = value if isinstance(value, list) else [value]
        if not values:
            continue
        feature = example.features.feature[name]
        if isinstance(values[0], str):
            feature.bytes_list.value.extend(v.encode() for v in values)
        elif isinstance(values[0], float):
            feature.float_list.value.extend(values)
        else:
            feature.int64_list.value.extend(values)
    return example


def random_attributes(rng):
    def text():
        return "".join(
            rng.choice(list(LETTERS), size=int(rng.choice([0, 1, 5, 130, 20_000], p=[0.1, 0.3, 0.4, 0.19, 0.01])))
        )

    def number():
        return float(rng.normal() * 10.0 ** rng.integers(-30, 30))

    def integer():
        return int(rng.integers(-(2 ** int(rng.integers(0, 64))), 2 ** int(rng.integers(0, 63))))

    makers = (text, number, integer)
    found = {}
    for index in range(int(rng.integers(0, 12))):
        maker = makers[rng.integers(3)]
        name = f"{index}_{text()[:8]}"
        found[name] = [maker() for _ in range(rng.integers(0, 6))] if rng.random() < 0.4 else maker()
    return found


@pytest.mark.parametrize("seed", range(5))
def test_equals_tensorflows_own_message(seed):
    rng = np.random.default_rng(seed)
    for _ in range(60):
        attributes = random_attributes(rng)
        assert tf.train.Example.FromString(encode(attributes)) == reference(attributes)


@pytest.mark.parametrize(
    "value",
    ["", "a" * 127, "a" * 128, "日" * 50, 0, -1, 2**63 - 1, -(2**63), 1.5, -0.0, float("inf"), [0.0] * 40, ["", "x"]],
)
def test_edge_values_equal_tensorflows_own_message(value):
    assert tf.train.Example.FromString(encode({"x": value})) == reference({"x": value})


def test_a_zero_keeps_its_sign_whatever_was_encoded_before():
    for value, sign in ((0.0, 1.0), (-0.0, -1.0), (0.0, 1.0)):
        found = tf.train.Example.FromString(encode({"signed": value}))
        assert np.copysign(1.0, found.features.feature["signed"].float_list.value[0]) == sign


def test_the_same_number_as_float_and_as_int_stay_apart():
    assert tf.train.Example.FromString(encode({"x": 1})) == reference({"x": 1})
    assert tf.train.Example.FromString(encode({"x": 1.0})) == reference({"x": 1.0})


def test_an_empty_list_is_omitted():
    assert encode({"x": [], "y": "z"}) == encode({"y": "z"})


@pytest.mark.parametrize("seed", range(3))
def test_concatenated_parts_parse_as_their_merge(seed):
    """TensorFlow's parser, which reads examples when training, honours it, as protobuf's does."""
    rng = np.random.default_rng(seed)
    numbers = [float(x) for x in rng.normal(size=4)]
    first = {"user_id": "ü", "clicks": 3.0, "history": ["a", "b"], "at": 2**60}
    second = {"item_id": "i", "vector": numbers}
    joined = encode(first) + encode(second)
    assert tf.train.Example.FromString(joined) == reference({**first, **second})
    parsed = tf.io.parse_example(
        [joined],
        {
            "user_id": tf.io.FixedLenFeature([], tf.string),
            "clicks": tf.io.FixedLenFeature([], tf.float32),
            "at": tf.io.FixedLenFeature([], tf.int64),
            "item_id": tf.io.FixedLenFeature([], tf.string),
            "vector": tf.io.FixedLenFeature([4], tf.float32),
            "history": tf.io.VarLenFeature(tf.string),
            "absent": tf.io.VarLenFeature(tf.float32),
        },
    )
    assert parsed["user_id"].numpy().tolist() == ["ü".encode()]
    assert parsed["clicks"].numpy().tolist() == [3.0]
    assert parsed["at"].numpy().tolist() == [2**60]
    assert parsed["item_id"].numpy().tolist() == [b"i"]
    np.testing.assert_array_equal(parsed["vector"].numpy(), np.float32([numbers]))
    assert parsed["history"].values.numpy().tolist() == [b"a", b"b"]
    assert parsed["absent"].values.numpy().tolist() == []
