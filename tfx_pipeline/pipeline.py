"""create_pipeline: the components and their order."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx import v1 as tfx
from tfx.dsl.components.base.base_node import BaseNode
from tfx.proto import trainer_pb2
from tfx.proto import transform_pb2
from tfx.types.channel import BaseChannel
from tfx.types.standard_artifacts import Model
from tfx.types.standard_artifacts import ModelBlessing

from tfx_pipeline import digest
from tfx_pipeline.components.evaluator import RetrievalEvaluator
from tfx_pipeline.components.example_gen import MarketplaceExampleGen
from tfx_pipeline.components.indexer import Indexer
from tfx_pipeline.components.last_blessed import LastBlessed
from tfx_pipeline.components.last_blessed import LastBlessedTowers
from tfx_pipeline.components.pusher import VersionedPusher
from tfx_pipeline.components.schema_validator import SchemaValidator
from tfx_pipeline.components.server_validator import ServerValidator
from tfx_pipeline.configs import RunConfig
from tfx_pipeline.health.nodes import health_nodes
from tfx_pipeline.retriever_records import METADATA_FILE
from tfx_pipeline.stored_versions import serving_folder

PIPELINE_NAME = "conversion_retrieval"
_TRANSFORMED = ["train", "catalog"]


@dataclass(frozen=True)
class Places:
    """Where a run reads and writes.

    Attributes:
        dataset: raw tables.
        schema_file: effective schema; its name changes with its content.
        artifacts: TFX's pipeline root.
        metadata: ML Metadata's SQLite file.
        serving: `<serving>/<version>` is pushed.
        training: a training in progress.
    """

    dataset: Path
    schema_file: Path
    artifacts: Path
    metadata: Path
    serving: Path
    training: Path

    @classmethod
    def below(cls, root: Path, *, dataset: Path, schema_file: Path) -> "Places":
        """The fixed layout of a root folder."""
        return cls(
            dataset, schema_file, root / "artifacts", root / METADATA_FILE, serving_folder(root), root / "training"
        )


class _Data(NamedTuple):
    """Components from raw tables to valid examples."""

    example_gen: MarketplaceExampleGen
    statistics_gen: tfx.components.StatisticsGen
    schema_gen: tfx.components.ImportSchemaGen
    validator: SchemaValidator


class _Model(NamedTuple):
    """Components from examples to trained towers; `start`, where there is one, finds the weights to begin with."""

    transform: tfx.components.Transform
    start: tuple[BaseNode, ...]
    trainer: tfx.components.Trainer


class _Retrieval(NamedTuple):
    """Components from towers to a pushed retriever."""

    indexer: BaseNode
    last_blessed: BaseNode
    evaluator: BaseNode
    server_validator: BaseNode
    pusher: BaseNode


def create_pipeline(
    places: Places, schema: schema_pb2.Schema, config: RunConfig, *, run_id: str, beam_args: list[str]
) -> tfx.dsl.Pipeline:
    """From raw tables to a pushed retriever.

    Args:
        places: folders and files.
        schema: content of `places.schema_file`.
        config: all options.
        run_id: distinct by run.
        beam_args: of every Beam stage.
    """
    data = _data(places, schema, config)
    health = health_nodes(
        data.example_gen,
        data.statistics_gen,
        schema,
        config.health,
        after=data.validator,
        are_histories_alike=config.examples.are_histories_alike,
    )
    model = _model(data, schema, config, places, gate=health.gate)
    retrieval = _retrieval(data, model, config, places=places, run_id=run_id)
    return tfx.dsl.Pipeline(
        pipeline_name=PIPELINE_NAME,
        pipeline_root=str(places.artifacts),
        components=[*data, *health, model.transform, *model.start, model.trainer, *retrieval],
        enable_cache=True,
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(str(places.metadata)),
        beam_pipeline_args=beam_args,
    )


def _data(places: Places, schema: schema_pb2.Schema, config: RunConfig) -> _Data:
    # Turns raw tables into the splits train, eval, impressions, catalog and queries.
    example_gen = MarketplaceExampleGen(
        str(places.dataset), schema, config.examples, code_digest=digest.code_digest(digest.EXAMPLES_CODE)
    )

    # Computes statistics of every split.
    statistics_gen = tfx.components.StatisticsGen(examples=example_gen.outputs["examples"])

    # Brings the effective schema into ML Metadata.
    schema_gen = tfx.components.ImportSchemaGen(schema_file=str(places.schema_file))

    # Stops the run when a split does not fit the schema.
    validator = SchemaValidator(
        statistics=statistics_gen.outputs["statistics"],
        schema=schema_gen.outputs["schema"],
        code_digest=digest.code_digest(digest.VALIDATION_CODE),
    )
    return _Data(example_gen, statistics_gen, schema_gen, validator)


def _model(data: _Data, schema: schema_pb2.Schema, config: RunConfig, places: Places, *, gate: BaseNode) -> _Model:
    schema_text = text_format.MessageToString(schema)

    # Builds vocabularies and scales from train and catalog, and the graph that both towers and serving use.
    transform = tfx.components.Transform(
        examples=data.example_gen.outputs["examples"],
        schema=data.schema_gen.outputs["schema"],
        preprocessing_fn="trainer.preprocessing.preprocessing_fn",
        splits_config=transform_pb2.SplitsConfig(analyze=_TRANSFORMED, transform=_TRANSFORMED),
        custom_config={"schema": schema_text, "code_digest": digest.code_digest(digest.TRANSFORM_CODE)},
        disable_statistics=True,
        disable_analyzer_cache=True,  # no later run would read it, and writing it takes a third of the time
    )
    transform.add_upstream_node(gate)

    # Finds the towers that a warm start begins with: of what was blessed before this run's data.
    start: tuple[BaseNode, ...] = ()
    if config.trainer.warm_start:
        start = (_last_blessed(LastBlessedTowers, transform.outputs["transformed_examples"], "WarmStart"),)

    # Trains the two towers.
    trainer = tfx.components.Trainer(
        run_fn="trainer.run.run_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        train_args=trainer_pb2.TrainArgs(splits=_TRANSFORMED),
        eval_args=trainer_pb2.EvalArgs(splits=_TRANSFORMED),
        base_model=start[0].outputs["model"] if start else None,
        custom_config={
            "config": json.dumps(config.trainer.to_dict()),
            "schema": schema_text,
            "folder": str(places.training),
            "code_digest": digest.code_digest(digest.TRAINER_CODE),
        },
    )
    return _Model(transform, start, trainer)


def _retrieval(data: _Data, model: _Model, config: RunConfig, *, places: Places, run_id: str) -> _Retrieval:
    examples, towers = data.example_gen.outputs["examples"], model.trainer.outputs["model"]

    # Embeds the catalogue and exports the versioned retriever.
    indexer = Indexer(
        examples=examples,
        queries=examples,
        towers=towers,
        model_version="",  # these towers' first
        kind=config.index.kind,
        max_k=config.index.max_k,
        target_recall=config.index.target_recall,
        code_digest=digest.code_digest(digest.INDEX_CODE),
    )
    retriever = indexer.outputs["retriever"]

    # Finds the retriever that this one would replace.
    last_blessed = _last_blessed(LastBlessed, retriever, "LastBlessedRetriever")

    # Ranks the whole catalogue for every evaluation row, beside popularity and that retriever, and decides the blessing.
    evaluator = RetrievalEvaluator(
        examples=examples,
        towers=towers,
        retriever=retriever,
        last_blessed=last_blessed.outputs["model"],
        config=json.dumps(config.evaluation.to_dict()),
        dataset=str(places.dataset),
        code_digest=digest.code_digest(digest.EVALUATION_CODE),
    )

    # Starts a model server with the retriever and queries it.
    server_validator = ServerValidator(
        examples=examples, retriever=retriever, code_digest=digest.code_digest(digest.SERVER_CODE)
    )

    # Copies a blessed retriever to the serving folder.
    pusher = VersionedPusher(
        retriever,
        evaluator.outputs["blessing"],
        server_validator.outputs["blessing"],
        base_directory=str(places.serving),
        kept_versions=config.push.kept_versions,
        run_id=run_id,
    )
    return _Retrieval(indexer, last_blessed, evaluator, server_validator, pusher)


def _last_blessed(strategy: type[LastBlessed], candidate: BaseChannel, name: str) -> BaseNode:
    return tfx.dsl.Resolver(
        strategy_class=strategy,
        candidate=candidate,
        model=tfx.dsl.Channel(type=Model),
        blessing=tfx.dsl.Channel(type=ModelBlessing),
    ).with_id(name)
