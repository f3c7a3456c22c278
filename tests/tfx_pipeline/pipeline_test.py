from pathlib import Path

import pytest

from schemas.load import load_schema
from tfx_pipeline.configs import build_config
from tfx_pipeline.pipeline import Places
from tfx_pipeline.pipeline import create_pipeline


@pytest.fixture(scope="module")
def components(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    places = Places.below(root, dataset=Path("tables"), schema_file=root / "schema.pbtxt")
    config = build_config("tables", file=None, settings=[])
    return create_pipeline(places, load_schema(), config, run_id="1", beam_args=[]).components


@pytest.fixture(scope="module")
def upstream(components):
    """Ids of the components before each, in the pipeline's order."""
    return {component.id: {node.id for node in component.upstream_nodes} for component in components}


def test_it_has_these_components_each_after_what_it_reads(upstream):
    assert set(upstream) == {
        "MarketplaceExampleGen",
        "StatisticsGen",
        "ImportSchemaGen",
        "SchemaValidator",
        "PreviousStatistics",
        "SkewValidator",
        "DriftValidator",
        "DataHealth",
        "HealthGate",
        "Transform",
        "Trainer",
        "Indexer",
        "RetrievalEvaluator",
        "ServerValidator",
        "VersionedPusher",
    }
    done = set()
    for name, before in upstream.items():
        assert before <= done, name
        done.add(name)


@pytest.mark.parametrize(
    ("component", "gates"),
    [
        ("SkewValidator", {"SchemaValidator"}),  # reads none of its outputs
        ("DriftValidator", {"SchemaValidator", "PreviousStatistics"}),
        ("Transform", {"HealthGate"}),
        ("VersionedPusher", {"Indexer", "RetrievalEvaluator", "ServerValidator"}),
    ],
)
def test_the_gates_come_before_what_they_guard(upstream, component, gates):
    assert gates <= upstream[component]


def test_a_change_of_our_code_is_seen_by_the_cache_of_every_step_that_runs_it(components):
    stock = {"StatisticsGen", "ImportSchemaGen", "SkewValidator", "DriftValidator"}
    never_cached = {"VersionedPusher", "PreviousStatistics"}  # its input is another in each run; a resolver always asks
    for component in components:
        has_digest = "code_digest" in str(component.exec_properties)
        assert has_digest == (component.id not in stock | never_cached), component.id
