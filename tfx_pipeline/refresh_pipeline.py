"""The two pipelines of a refresh: a new catalogue for trained towers, and new prices for a served retriever."""

import json

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx import v1 as tfx
from tfx.dsl.components.base.base_node import BaseNode
from tfx.types.standard_artifacts import Examples
from tfx.types.standard_artifacts import Model

from tfx_pipeline import digest
from tfx_pipeline.components.catalog_changer import CatalogChanger
from tfx_pipeline.components.catalog_example_gen import CatalogExampleGen
from tfx_pipeline.components.indexer import Indexer
from tfx_pipeline.components.pusher import VersionedPusher
from tfx_pipeline.components.refresh_evaluator import RefreshEvaluator
from tfx_pipeline.components.schema_validator import SchemaValidator
from tfx_pipeline.components.server_validator import ServerValidator
from tfx_pipeline.configs import RunConfig
from tfx_pipeline.pipeline import Places
from tfx_pipeline.served_run import ServedRun

PIPELINE_NAME = "conversion_retrieval_refresh"


def create_refresh_pipeline(
    places: Places,
    schema: schema_pb2.Schema,
    config: RunConfig,
    *,
    fingerprint: str,
    served: ServedRun,
    run_id: str,
    beam_args: list[str],
) -> tfx.dsl.Pipeline:
    """From item shards to a pushed retriever with the towers of the one that is served.

    Args:
        places: folders and files of the root; `dataset` holds the item shards, `schema_file` is the catalogue's.
        schema: content of `places.schema_file`.
        config: options of the run, and of the refresh.
        fingerprint: of the shards.
        served: what is replaced.
        run_id: distinct by run.
        beam_args: of every Beam stage.
    """
    # Bring artifacts of the training run into this pipeline, under their own ids: the lineage goes on.
    trained = _imported("TrainedExamples", str(served.examples), Examples)
    towers = _imported("Towers", str(served.towers), Model)
    replaced = _imported("ServedRetriever", str(served.retriever), Model)

    # Turns the items into the split catalog, with the popularity that the training run knows.
    example_gen = CatalogExampleGen(
        known=trained.outputs["result"],
        items=str(places.dataset),
        fingerprint=fingerprint,
        schema=text_format.MessageToString(schema),
        examples_config=json.dumps(config.examples.to_dict()),
        refresh_config=json.dumps(config.refresh.to_dict()),
        code_digest=digest.code_digest(digest.CATALOG_CODE),
    )
    examples = example_gen.outputs["examples"]

    # Stop the refresh when the catalogue does not fit the schema.
    statistics_gen = tfx.components.StatisticsGen(examples=examples)
    schema_gen = tfx.components.ImportSchemaGen(schema_file=str(places.schema_file))
    validator = SchemaValidator(
        statistics=statistics_gen.outputs["statistics"],
        schema=schema_gen.outputs["schema"],
        code_digest=digest.code_digest(digest.VALIDATION_CODE),
    )

    # Embeds the catalogue with the trained towers and exports the versioned retriever.
    indexer = Indexer(
        examples=examples,
        queries=trained.outputs["result"],
        towers=towers.outputs["result"],
        model_version=served.model_version,
        kind=config.index.kind,
        max_k=config.index.max_k,
        target_recall=config.index.target_recall,
        # The cache must not answer with a version that is older than the one that is served.
        code_digest=f"{digest.code_digest(digest.INDEX_CODE)} after {served.version}",
    )
    indexer.add_upstream_node(validator)

    # Compares with popularity, with exact search and with the catalogue that is served, and decides the blessing.
    evaluator = RefreshEvaluator(
        examples=trained.outputs["result"],
        catalog_examples=examples,
        towers=towers.outputs["result"],
        served=replaced.outputs["result"],
        retriever=indexer.outputs["retriever"],
        evaluation_config=json.dumps(config.evaluation.to_dict()),
        refresh_config=json.dumps(config.refresh.to_dict()),
        code_digest=digest.code_digest(digest.REFRESH_EVALUATION_CODE),
    )
    push = _push(trained, indexer, evaluator.outputs["blessing"], config, places=places, run_id=run_id)
    nodes = [trained, towers, replaced, example_gen, statistics_gen, schema_gen, validator, indexer, evaluator, *push]
    return _pipeline(nodes, places, beam_args)


def create_changes_pipeline(
    places: Places, config: RunConfig, *, fingerprint: str, served: ServedRun, run_id: str, beam_args: list[str]
) -> tfx.dsl.Pipeline:
    """From changed prices and availability to a pushed retriever that is else the served one.

    Args:
        places: folders and files of the root; `dataset` holds the columns `item_id` and any of `price` and `is_available`.
        config: options of the run.
        fingerprint: of the dataset.
        served: what is changed.
        run_id: distinct by run.
        beam_args: of every Beam stage.
    """
    trained = _imported("TrainedExamples", str(served.examples), Examples)
    replaced = _imported("ServedRetriever", str(served.retriever), Model)

    # Writes the served retriever anew with other prices and availability, under a new version.
    changer = CatalogChanger(
        served=replaced.outputs["result"],
        changes=str(places.dataset),
        fingerprint=fingerprint,
        max_id_length=config.examples.max_id_length,
        code_digest=digest.code_digest(digest.CHANGES_CODE),
    )
    nodes = [trained, replaced, changer, *_push(trained, changer, None, config, places=places, run_id=run_id)]
    return _pipeline(nodes, places, beam_args)


def _imported(name: str, uri: str, kind: type) -> tfx.dsl.Importer:
    return tfx.dsl.Importer(source_uri=uri, artifact_type=kind).with_id(name)


def _push(
    trained: tfx.dsl.Importer,
    maker: BaseNode,
    blessing: tfx.dsl.Channel | None,
    config: RunConfig,
    *,
    places: Places,
    run_id: str,
) -> tuple[BaseNode, BaseNode]:
    # Starts a model server with the retriever and queries it; copies a blessed one to the serving folder.
    retriever = maker.outputs["retriever"]
    server_validator = ServerValidator(
        examples=trained.outputs["result"], retriever=retriever, code_digest=digest.code_digest(digest.SERVER_CODE)
    )
    infra_blessing = server_validator.outputs["blessing"]
    return server_validator, VersionedPusher(
        retriever,
        blessing,
        infra_blessing,
        base_directory=str(places.serving),
        run_id=run_id,
        kept_versions=config.push.kept_versions,
    )


def _pipeline(nodes: list[BaseNode], places: Places, beam_args: list[str]) -> tfx.dsl.Pipeline:
    return tfx.dsl.Pipeline(
        pipeline_name=PIPELINE_NAME,
        pipeline_root=str(places.artifacts),
        components=nodes,
        enable_cache=True,
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(str(places.metadata)),
        beam_pipeline_args=beam_args,
    )
