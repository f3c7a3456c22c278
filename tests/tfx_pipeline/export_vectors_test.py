import numpy as np
import pytest
from planted_retriever import INDEX_VERSION
from planted_retriever import MODEL_VERSION
from pyarrow import parquet
from retriever_record import record

from tfx_pipeline import export_vectors
from tfx_pipeline.export_vectors import Vectors
from tfx_pipeline.export_vectors import export

VERSIONS = {"model_version": "1", "index_version": "2"}


@pytest.fixture
def root(planted_retriever, tmp_path):
    """A root that serves the planted retriever; an older one, whose artifact is gone, is on record."""
    root = tmp_path / "root"
    (root / "serving/retriever").mkdir(parents=True)
    (root / "serving/retriever" / INDEX_VERSION).symlink_to(planted_retriever.folder)
    planted_retriever.catalog.save(root / "artifact/catalog")
    properties = {"model_version": MODEL_VERSION, "index_kind": "exact"}
    record(root, version=INDEX_VERSION, properties=properties, uri=root / "artifact")
    record(root, version="7", properties={}, uri=root / "gone")
    return root


def run(root, *arguments):
    return export_vectors.main([f"--root={root}", f"--to={root / 'vectors'}", *arguments])


def read(folder):
    """Ids, vectors and the table."""
    found = parquet.read_table(folder)
    vectors = np.stack(found["vector"].to_pylist())
    return found["item_id"].to_pylist(), vectors, found


def test_the_served_versions_vectors_are_the_catalogues(root, planted_retriever, capsys):
    assert run(root) == 0
    assert capsys.readouterr().out == f"24 vectors of version {INDEX_VERSION} in 1 files: {root / 'vectors'}\n"
    item_ids, vectors, found = read(root / "vectors")
    assert item_ids == [item_id.decode() for item_id in planted_retriever.catalog.item_ids]
    np.testing.assert_array_equal(vectors, planted_retriever.catalog.vectors)
    assert [str(field.type) for field in found.schema] == [
        "string",
        "fixed_size_list<item: float>[9]",
        *["dictionary<values=string, indices=int32, ordered=0>"] * 2,
    ]
    assert set(found["model_version"].to_pylist()) == {MODEL_VERSION}
    assert set(found["index_version"].to_pylist()) == {INDEX_VERSION}


def test_with_embed_query_and_its_bonuses_they_give_the_served_scores(root, planted_retriever, served_model):
    run(root, "--rows_per_shard=10")
    item_ids, vectors, _ = read(root / "vectors")
    inputs = {name: value.numpy() for name, value in planted_retriever.inputs.items()}
    query = {name: value[0] for name, value in served_model.run("embed_query", inputs).items()}
    scores = dict(zip(item_ids, vectors @ query["embedding"], strict=True))
    for item_id, bonus in zip(query["bonus_item_ids"], query["bonuses"], strict=True):
        if item_id:
            scores[item_id.decode()] += bonus
    served = served_model.run("retrieve", {**inputs, "k": np.array([24], np.int32)})
    assert (query["bonuses"] != 0).any()
    np.testing.assert_allclose(
        [scores[item_id.decode()] for item_id in served["item_ids"][0]], served["scores"][0], atol=1e-4
    )


@pytest.mark.parametrize(
    ("rows_per_shard", "row_groups"),
    [
        (200_000, [[65_536, 65_536, 18_928]]),
        (100_000, [[65_536, 34_464], [50_000]]),
    ],
)
def test_a_large_catalogue_is_written_in_row_groups_and_files(tmp_path, rows_per_shard, row_groups):
    ids = np.array([f"ü{number}".encode() for number in range(150_000)])
    vectors = np.random.default_rng(1).normal(size=(150_000, 2)).astype(np.float32)
    assert export(Vectors(ids, vectors, VERSIONS), tmp_path / "to", rows_per_shard=rows_per_shard) == len(row_groups)
    files = [parquet.ParquetFile(path).metadata for path in sorted((tmp_path / "to").iterdir())]
    assert [[file.row_group(group).num_rows for group in range(file.num_row_groups)] for file in files] == row_groups
    found = parquet.read_table(tmp_path / "to")
    assert found["item_id"].to_pylist() == [f"ü{number}" for number in range(150_000)]
    np.testing.assert_array_equal(found["vector"].combine_chunks().flatten().to_numpy(), vectors.ravel())


def test_what_a_killed_export_left_is_not_in_the_next(tmp_path):
    left = tmp_path / "partial-to"
    left.mkdir()
    (left / "part-00005.parquet").write_text("half")
    export(Vectors(np.array([b"a"]), np.ones((1, 2), np.float32), VERSIONS), tmp_path / "to")
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["part-00000.parquet"]
    assert not left.exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--version=5"], f"--version must be one of those in ML Metadata: {INDEX_VERSION}, 7. Received: 5"),
        (["--version=7"], "The vectors of version 7 are gone from "),
        (["--rows_per_shard=0"], "--rows_per_shard must be >= 1. Received: 0"),
        (["--to=/"], "--to must be a new folder. Received: /, which exists"),
        (["--root=/nowhere"], "--root must be the root of a run that pushed. Received: /nowhere"),
    ],
)
def test_what_cannot_be_exported_is_refused(root, capsys, arguments, text):
    assert run(root, *arguments) == 2
    assert capsys.readouterr().err.startswith(f"error: {text}")
    assert not (root / "vectors").exists()
