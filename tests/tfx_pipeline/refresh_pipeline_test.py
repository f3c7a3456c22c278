from pathlib import Path

import pytest

from schemas.load import load_schema
from tfx_pipeline.configs import build_config
from tfx_pipeline.pipeline import Places
from tfx_pipeline.refresh_pipeline import create_changes_pipeline
from tfx_pipeline.refresh_pipeline import create_refresh_pipeline
from tfx_pipeline.served_run import ServedRun

SERVED = ServedRun("2", "1", Path("retriever"), Path("towers"), Path("examples"), Path("schema.pbtxt"))
GIVEN = {"fingerprint": "print", "served": SERVED, "run_id": "1", "beam_args": []}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    return Places.below(root, dataset=Path("feed"), schema_file=root / "schema.pbtxt")


@pytest.fixture(scope="module")
def refresh(places):
    return create_refresh_pipeline(places, load_schema(), build_config("tables"), **GIVEN).components


@pytest.fixture(scope="module")
def changes(places):
    return create_changes_pipeline(places, build_config("tables"), **GIVEN).components


@pytest.mark.parametrize(
    ("component", "gates"),
    [
        ("Indexer", {"SchemaValidator", "CatalogExampleGen", "Towers", "TrainedExamples"}),
        ("RefreshEvaluator", {"Indexer", "ServedRetriever"}),
        ("VersionedPusher", {"Indexer", "RefreshEvaluator", "ServerValidator"}),
    ],
)
def test_the_gates_come_before_what_they_guard(refresh, component, gates):
    upstream = {node.id: {before.id for before in node.upstream_nodes} for node in refresh}
    assert gates <= upstream[component]


def test_changes_are_pushed_by_way_of_a_server(changes):
    (pusher,) = (node for node in changes if node.id == "VersionedPusher")
    assert {node.id for node in pusher.upstream_nodes} == {"CatalogChanger", "ServerValidator"}


@pytest.mark.parametrize("pipeline", ["refresh", "changes"])
def test_a_change_of_our_code_or_of_the_data_is_seen_by_the_cache(request, pipeline):
    components = [node for node in request.getfixturevalue(pipeline) if hasattr(node, "exec_properties")]
    stock = {"StatisticsGen", "ImportSchemaGen", "VersionedPusher", "TrainedExamples", "Towers", "ServedRetriever"}
    for node in components:
        assert ("code_digest" in str(node.exec_properties)) == (node.id not in stock), node.id
    (reader,) = (node for node in components if node.id in ("CatalogExampleGen", "CatalogChanger"))
    assert reader.exec_properties["fingerprint"] == "print"


def test_the_cache_never_answers_with_a_version_that_was_replaced_since(refresh):
    (indexer,) = (node for node in refresh if node.id == "Indexer")
    assert indexer.exec_properties["code_digest"].endswith(" after 2")
    assert indexer.exec_properties["model_version"] == "1"
