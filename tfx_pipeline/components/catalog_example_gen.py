"""CatalogExampleGen: the items of a refresh in, one Examples artifact with the split `catalog` out, on any Beam runner."""

import json

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.example_gen import write_split
from tfx.dsl.component.experimental.annotations import BeamComponentParameter
from tfx.dsl.component.experimental.annotations import InputArtifact
from tfx.dsl.component.experimental.annotations import OutputArtifact
from tfx.dsl.component.experimental.annotations import Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact_utils
from tfx.types.standard_artifacts import Examples

from schemas.features import feature_groups
from tfx_pipeline.components.example_gen import DEAD_LETTER_FOLDER
from tfx_pipeline.components.example_gen import FACTS_FILE
from tfx_pipeline.components.example_gen import WriteRecords
from tfx_pipeline.components.example_gen import check_dead_letters
from tfx_pipeline.components.example_gen import read_facts
from tfx_pipeline.components.example_gen import write_facts
from tfx_pipeline.components.example_gen import write_lines
from tfx_pipeline.examples import clean
from tfx_pipeline.examples.catalog import CatalogExamples
from tfx_pipeline.examples.config import ExamplesConfig
from tfx_pipeline.examples.items import CATALOG
from tfx_pipeline.examples.types import Period
from tfx_pipeline.refresh_config import RefreshConfig


@component(use_beam=True)
def CatalogExampleGen(  # noqa: N802 (a TFX component is named like a class)
    known: InputArtifact[Examples],
    examples: OutputArtifact[Examples],
    items: Parameter[str],
    fingerprint: Parameter[str],
    schema: Parameter[str],
    examples_config: Parameter[str],
    refresh_config: Parameter[str],
    code_digest: Parameter[str],
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Writes the catalogue, the dead letters and the facts; fails when too many rows were set aside.

    `known` are the examples that the towers were trained on, `fingerprint` tells TFX's cache that the shards have changed.
    """
    del fingerprint, code_digest  # part of the cache key only
    config = ExamplesConfig(**json.loads(examples_config))
    examples.split_names = artifact_utils.encode_split_names([CATALOG])
    transform = CatalogExamples(
        items,
        FileSystems.join(artifact_utils.get_split_uri([known], CATALOG), "*"),
        feature_groups(text_format.Parse(schema, schema_pb2.Schema())),
        new_item_popularity=RefreshConfig(**json.loads(refresh_config)).new_item_popularity,
        max_id_length=config.max_id_length,
    )
    period = Period(**read_facts(known.uri)["period"])
    folder = artifact_utils.get_split_uri([examples], CATALOG)
    with beam_pipeline as pipeline:
        out = transform.expand(pipeline)
        _ = out[CATALOG] | WriteRecords(FileSystems.join(folder, write_split.DEFAULT_TF_RECORD_FILE_NAME))
        write_lines(out[clean.DEAD_LETTERS], examples.uri, DEAD_LETTER_FOLDER)
        counts, facts = beam.pvalue.AsDict(out[clean.COUNTS]), FileSystems.join(examples.uri, FACTS_FILE)
        _ = pipeline | beam.Create([period]) | "WriteFacts" >> beam.Map(write_facts, counts, facts)
    found = read_facts(examples.uri)["counts"]
    check_dead_letters(found, config, dead_letters=FileSystems.join(examples.uri, DEAD_LETTER_FOLDER))
    check_values(found, config)


def check_values(counts: dict[str, int], config: ExamplesConfig) -> None:
    """Fails the refresh when a column has too many unusable values: the towers would take its items for others.

    Raises:
        ValueError: with the column, the share and its limit.
    """
    for name, number in counts.items():
        share = number / counts["items.rows"]
        if name.startswith("items.value_dropped.") and share > config.max_dead_letter_share:
            raise ValueError(
                f"Column {name.rsplit('.', 1)[1]} of the items: {share:.1%} of {counts['items.rows']} rows hold no finite number, "
                "or a vector of another length than the training run's, more than examples.max_dead_letter_share="
                f"{config.max_dead_letter_share:.1%}. Mend the column or raise the limit."
            )
