import numpy as np
import pytest
import tensorflow as tf

from trainer.inputs import split_by_time
from trainer.inputs import training_spec
from trainer.preprocessing import prefixes
from trainer.preprocessing import tokens


def rows_of(sparse):
    return [[text.decode() for text in row] for row in tf.RaggedTensor.from_sparse(sparse).to_list()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Red SHOE", ["red", "shoe"]),
        ("half-size (4.5), new!", ["half", "size", "4", "5", "new"]),
        ("GRÖSSE Ärmel", ["grösse", "ärmel"]),
        ("東京 シャツ", ["東京", "シャツ"]),
        ("हिन्दी", ["हिन्दी"]),  # vowel signs are marks, not separators
        ("", []),
        (" - !", []),
    ],
)
def test_tokens(text, words):
    assert rows_of(tokens(tf.constant([text, "x"]))) == [words, ["x"]]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a", ["a"]),
        ("a > b", ["a", "a > b"]),
        ("a > b > c", ["a", "a > b", "a > b > c"]),
        ("a > b > c > d", ["a", "a > b", "a > b > c", "a > b > c > d"]),
        ("a > b > c > d > e", ["a", "a > b", "a > b > c", "a > b > c > d"]),
        ("a > b > c > d > e > f", ["a", "a > b", "a > b > c", "a > b > c > d"]),
        ("", []),
        ("Mode > Schuhe & Größen", ["Mode", "Mode > Schuhe & Größen"]),
    ],
)
def test_prefixes(path, expected):
    found = prefixes(tf.constant([path, "z"]))
    assert rows_of(found) == [expected, ["z"]]
    assert found.dense_shape.numpy().tolist() == [2, 4]


def vocabulary(market, name):
    return market.tf_transform.vocabulary_by_name(name)


def test_items_subjects_and_histories_share_one_vocabulary(market):
    words = [word.decode() for word in vocabulary(market, "item_id")]
    assert sorted(words) == sorted(row["item_id"] for row in market.catalog)  # ids are never cut, non-ASCII too
    index = {word: number + 1 for number, word in enumerate(words)}
    for raw, row in zip(market.train, market.transformed["train"], strict=True):
        assert row["item_id_xf"] == index[raw["item_id"]]
        assert row["subject_item_id_xf"] == index.get(raw.get("subject_item_id"), 0)
        assert row["history_item_id_xf"].tolist() == [index[item] for item in raw["history_item_id"]]


def test_what_a_split_does_not_have_is_padding(market):
    for row in market.transformed["catalog"]:
        assert row["subject_item_id_xf"] == row["own_segment_xf"] == 0
        assert row["user_num_clicks_xf"] == 0.0
        assert len(row["history_item_id_xf"]) == len(row["own_note_xf"]) == 0
        assert row["task"] == b""
        assert row["click_duration_s"] == -1.0


@pytest.mark.parametrize("name", ["own_score", "user_num_clicks"])
def test_numerics_are_z_scored_logarithms(market, name):
    raw = [*market.train, *market.catalog]
    logarithms = np.log1p([row[name] for row in raw if name in row])
    mean, deviation = logarithms.mean(), logarithms.std()
    expected = [(np.log1p(row[name]) - mean) / deviation if name in row else 0.0 for row in raw]
    found = [row[f"{name}_xf"] for row in (*market.transformed["train"], *market.transformed["catalog"])]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_numeric_that_is_always_missing_is_zero(market):
    assert {row["item_conversion_index_xf"] for row in market.transformed["train"]} == {0.0}


def test_texts_paths_vectors_and_ages(market):
    raw, row = market.train[1], market.transformed["train"][1]
    titles = [word.decode() for word in vocabulary(market, "title")]
    assert [titles[index - 1] for index in row["title_xf"]] == raw["title"].lower().split()
    paths = ["", *(word.decode() for word in vocabulary(market, "category"))]
    shop, taste, leaf = raw["category"].split(" > ")
    assert [paths[index] for index in row["category_xf"]] == [
        shop,
        f"{shop} > {taste}",
        f"{shop} > {taste} > {leaf}",
        "",
    ]
    np.testing.assert_allclose(row["own_vector_xf"], raw["own_vector"], rtol=1e-6)
    np.testing.assert_allclose(row["history_age_days_xf"], np.log1p(raw["history_age_days"]), rtol=1e-6)
    notes = [word.decode() for word in vocabulary(market, "own_note")]
    assert [notes[index - 1] for index in row["own_note_xf"]] == ["note", "one"]


def test_one_schema_entry_is_a_model_input(market):
    spec = training_spec(market.tf_transform, market.groups)
    assert {"own_segment_xf", "own_score_xf", "own_note_xf", "own_vector_xf"} <= set(spec)
    assert isinstance(spec["own_note_xf"], tf.io.RaggedFeature)
    assert spec["own_vector_xf"].shape == [3]
    assert split_by_time(market.transformed_files["train"], share=0.0).num_train == len(market.train)
