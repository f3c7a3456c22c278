"""MarketplaceExampleGen: raw tables in, one Examples artifact with five splits out, on any Beam runner."""

import io
import json
import logging
import time
from typing import Any

import apache_beam as beam
from apache_beam.io import tfrecordio
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from google.protobuf import struct_pb2
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.example_gen import base_example_gen_executor
from tfx.components.example_gen import component
from tfx.components.example_gen import write_split
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.utils import proto_utils

from schemas import tables
from schemas.features import SPLITS
from schemas.features import feature_groups
from tfx_pipeline.examples import clean
from tfx_pipeline.examples import label_health
from tfx_pipeline.examples import splits
from tfx_pipeline.examples.config import ExamplesConfig
from tfx_pipeline.examples.pipeline import MarketplaceExamples
from tfx_pipeline.examples.types import Period

SNAPSHOT_FOLDER = "user_snapshot"
DEAD_LETTER_FOLDER = "dead_letters"
FACTS_FILE = "facts.json"
"""Below the Examples artifact: `{"counts": {name: number}, "period": {"cut_us", "last_us"}}`."""


class _Executor(base_example_gen_executor.BaseExampleGenExecutor):
    """Runs MarketplaceExamples and fails the run when too many rows were set aside."""

    def GetInputSourceToExamplePTransform(self) -> beam.PTransform:  # noqa: N802 (name fixed by TFX)
        """Not used: the splits come from one graph, see GenerateExamplesByBeam."""
        raise NotImplementedError

    def Do(self, input_dict: dict, output_dict: dict, exec_properties: dict) -> None:  # noqa: N802 (name fixed by TFX)
        """Writes the splits, then checks the counts."""
        self._examples = output_dict["examples"]
        self._uri = self._examples[0].uri
        super().Do(input_dict, output_dict, exec_properties)
        config, _ = _read_config(exec_properties)
        facts = read_facts(self._uri)
        check_counts(facts["counts"], config, dead_letters=FileSystems.join(self._uri, DEAD_LETTER_FOLDER))

    def GenerateExamplesByBeam(self, pipeline: beam.Pipeline, exec_properties: dict) -> dict:  # noqa: N802
        """Writes the five splits; the snapshot, the dead letters, the facts and what data health reads beside them.

        Returns no split, for TFX would shuffle the rows again before it writes them in the same form.
        """
        config, schema = _read_config(exec_properties)
        groups = feature_groups(schema)
        now_us = time.time_ns() // 1000
        examples = MarketplaceExamples(exec_properties["input_base"], groups, config, now_us=now_us)
        out = examples.expand(pipeline)
        write_lines(out[splits.SNAPSHOT] | "SnapshotLine" >> beam.Map(_snapshot_line), self._uri, SNAPSHOT_FOLDER)
        write_lines(out[clean.DEAD_LETTERS], self._uri, DEAD_LETTER_FOLDER)
        write_lines(out[label_health.ADVERTISERS], self._uri, label_health.ADVERTISERS_FOLDER)
        measures = beam.pvalue.AsDict(out[label_health.MEASURES])
        labels = FileSystems.join(self._uri, label_health.LABELS_FILE)
        _ = out["period"] | "WriteLabels" >> beam.Map(label_health.write_labels, measures, labels)
        facts = FileSystems.join(self._uri, FACTS_FILE)
        counts = beam.pvalue.AsDict(out[clean.COUNTS])
        _ = out["period"] | "WriteFacts" >> beam.Map(write_facts, counts, facts)
        for name in SPLITS:
            folder = artifact_utils.get_split_uri(self._examples, name)
            prefix = FileSystems.join(folder, write_split.DEFAULT_TF_RECORD_FILE_NAME)
            _ = out[name] | f"Write[{name}]" >> WriteRecords(prefix)
        return {}


class WriteRecords(beam.PTransform):
    """Lists of records -> gzipped TFRecord shards; one element of Beam a list, where WriteToTFRecord takes a record."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def expand(self, lists: beam.PCollection) -> Any:
        """Frames the records, then writes bytes as they are."""
        write = beam.io.WriteToText(
            self._prefix,
            file_name_suffix=".gz",
            append_trailing_newlines=False,
            coder=beam.coders.BytesCoder(),
            compression_type=CompressionTypes.GZIP,
        )
        return lists | "Frame" >> beam.Map(_framed) | "Write" >> write


def _framed(records: list[bytes]) -> bytes:
    file = io.BytesIO()
    for record in records:
        tfrecordio._TFRecordUtil.write_record(file, record)
    return file.getvalue()


class MarketplaceExampleGen(component.FileBasedExampleGen):
    """Turns a dataset in the form of the data contract into examples.

    Args:
        dataset: folder with `events/`, `items/` and optionally `users/`.
        schema: effective schema of the run.
        config: options.
        code_digest: of this project's source, so that TFX's cache does not serve examples of older code.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(_Executor)

    def __init__(self, dataset: str, schema: schema_pb2.Schema, config: ExamplesConfig, *, code_digest: str) -> None:
        options = struct_pb2.Struct()
        options.update(
            {
                "examples": json.dumps(config.to_dict()),
                "schema": text_format.MessageToString(schema),
                "code_digest": code_digest,
            }
        )
        custom = example_gen_pb2.CustomConfig()
        custom.custom_config.Pack(options)
        read = [example_gen_pb2.Input.Split(name="all", pattern="*/*")]
        written = [example_gen_pb2.SplitConfig.Split(name=name, hash_buckets=1) for name in SPLITS]
        super().__init__(
            input_base=dataset,
            input_config=example_gen_pb2.Input(splits=read),
            output_config=example_gen_pb2.Output(split_config=example_gen_pb2.SplitConfig(splits=written)),
            custom_config=custom,
        )


def check_counts(counts: dict[str, int], config: ExamplesConfig, *, dead_letters: str) -> None:
    """Fails the run when the data cannot be trained on.

    Raises:
        ValueError: a table's dead letters exceed the configured share, or a needed split is empty; with the counts.
    """
    check_dead_letters(counts, config, dead_letters=dead_letters)
    for split in (splits.TRAIN, splits.EVAL):
        if not counts.get(f"positives.{split}"):
            raise ValueError(
                f"Split {split} has no positives: {_positives(counts)}. Events must hold clicks, saves, add-to-carts or "
                "purchases before and after the cut; change examples.cut or examples.eval_days."
            )


def check_dead_letters(counts: dict[str, int], config: ExamplesConfig, *, dead_letters: str) -> None:
    """Fails the run when too much of a table was set aside, or when the catalogue is empty.

    Raises:
        ValueError: a table's dead letters exceed the configured share, or there are no items; with the counts.
    """
    for table in tables.TABLES:
        rows = counts.get(f"{table}.rows", 0)
        reasons = {name.split(".")[2]: n for name, n in counts.items() if name.startswith(f"dead_letters.{table}.")}
        if table == tables.EVENTS:
            reasons["item_not_in_catalogue"] = counts.get("events.dropped.item_not_in_catalogue", 0)
        share = sum(reasons.values()) / max(1, rows)
        if share > config.max_dead_letter_share:
            told = "; ".join(f"{n} x {reason} ({clean.REMEDIES[reason]})" for reason, n in sorted(reasons.items()) if n)
            raise ValueError(
                f"Table {table}: {share:.1%} of {rows} rows were set aside, more than examples.max_dead_letter_share="
                f"{config.max_dead_letter_share:.1%}: {told}. See {dead_letters}, mend the data or raise the limit."
            )
    if not counts.get("items.rows"):
        raise ValueError("Table items has no rows: the catalogue must list every item that may be retrieved.")


def read_facts(examples_uri: str) -> dict[str, Any]:
    """Counts and period that ExampleGen wrote beside its splits."""
    with FileSystems.open(FileSystems.join(examples_uri, FACTS_FILE)) as file:
        return json.loads(file.read())


def _positives(counts: dict[str, int]) -> str:
    found = {name: number for name, number in sorted(counts.items()) if name.startswith("positives.")}
    return json.dumps(found)


def _read_config(exec_properties: dict) -> tuple[ExamplesConfig, schema_pb2.Schema]:
    custom = example_gen_pb2.CustomConfig()
    proto_utils.json_to_proto(exec_properties["custom_config"], custom)
    options = struct_pb2.Struct()
    custom.custom_config.Unpack(options)
    config = ExamplesConfig(**json.loads(options["examples"]))
    return config, text_format.Parse(options["schema"], schema_pb2.Schema())


def _snapshot_line(row: tuple[str, dict[str, Any]]) -> str:
    return json.dumps({"user_id": row[0], "features": row[1]}, ensure_ascii=False)


def write_lines(lines: beam.PCollection, uri: str, folder: str) -> None:
    """Gzipped text shards below the artifact."""
    prefix = FileSystems.join(uri, folder, "part")
    _ = lines | f"Write[{folder}]" >> beam.io.WriteToText(prefix, file_name_suffix=".jsonl.gz")


def write_facts(period: Period, counts: dict[str, int], path: str) -> None:
    """Writes and logs what `read_facts` reads."""
    cut_us, last_us = period
    facts = {"counts": dict(sorted(counts.items())), "period": {"cut_us": cut_us, "last_us": last_us}}
    with FileSystems.create(path) as file:
        file.write(json.dumps(facts, indent=2).encode())
    logging.info("Examples: %s", facts)
