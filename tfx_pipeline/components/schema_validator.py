"""SchemaValidator: TFX's ExampleValidator, with each split in its environment, that stops the run on an anomaly."""

from typing import Any
from typing import ClassVar

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.components.example_validator import component
from tfx.components.example_validator import executor
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import base_component
from tfx.dsl.components.base import executor_spec
from tfx.types import BaseChannel
from tfx.types import Channel
from tfx.types import artifact_utils
from tfx.types import component_spec
from tfx.types import standard_artifacts
from tfx.types import standard_component_specs
from tfx.utils import io_utils

from schemas.features import ENVIRONMENT_OF_SPLIT

_ANOMALIES_FILE = "SchemaDiff.pb"


class _Executor(executor.Executor):
    """The stock executor knows no environment and only records what it finds."""

    def Do(self, input_dict: dict, output_dict: dict, exec_properties: dict) -> Any:  # noqa: N802 (name fixed by TFX)
        """Validates every split, writes the anomalies, then raises with their text.

        Raises:
            ValueError: at least one anomaly; with split, feature, description.
        """
        statistics = artifact_utils.get_single_instance(input_dict["statistics"])
        anomalies_artifact = artifact_utils.get_single_instance(output_dict["anomalies"])
        anomalies_artifact.split_names = statistics.split_names
        schema_uri = artifact_utils.get_single_uri(input_dict["schema"])
        schema = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(schema_uri))
        found: list[str] = []
        for split in artifact_utils.decode_split_names(statistics.split_names):
            stats = stats_artifact_utils.load_statistics(statistics, split).proto()
            if not stats.datasets or not stats.datasets[0].num_examples:
                continue  # an empty split (no impressions, say) has nothing to validate
            anomalies = tfdv.validate_statistics(stats, schema, environment=ENVIRONMENT_OF_SPLIT[split])
            uri = artifact_utils.get_split_uri(output_dict["anomalies"], split)
            io_utils.write_bytes_file(f"{uri}/{_ANOMALIES_FILE}", anomalies.SerializeToString())
            found.extend(f"{split}: {text}" for text in describe(anomalies))
        if found:
            raise ValueError(
                f"The examples do not fit the schema, {len(found)} anomalies: {'; '.join(found)}. Mend the data, or the "
                "feature's entry in the schema file when the data are right."
            )


class _Spec(standard_component_specs.ExampleValidatorSpec):
    PARAMETERS: ClassVar = {
        **standard_component_specs.ExampleValidatorSpec.PARAMETERS,
        "code_digest": component_spec.ExecutionParameter(type=str),
    }


class SchemaValidator(component.ExampleValidator):
    """ExampleValidator with environments: `train` and `eval` TRAINING, `queries` SERVING, the rest CATALOG.

    Args:
        statistics: of all splits.
        schema: that they must fit.
        code_digest: of this project's source, so that TFX's cache does not pass what older code passed.
    """

    SPEC_CLASS = _Spec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(_Executor)

    def __init__(self, statistics: BaseChannel, schema: BaseChannel, *, code_digest: str) -> None:
        anomalies = Channel(type=standard_artifacts.ExampleAnomalies)
        spec = _Spec(
            statistics=statistics, schema=schema, exclude_splits="[]", anomalies=anomalies, code_digest=code_digest
        )
        base_component.BaseComponent.__init__(self, spec=spec)  # the stock constructor knows no further parameter


def describe(anomalies: anomalies_pb2.Anomalies) -> list[str]:
    """One line per anomaly: feature and description."""
    lines = [f"feature {name!r}: {info.description}" for name, info in sorted(anomalies.anomaly_info.items())]
    if anomalies.HasField("dataset_anomaly_info"):
        lines.append(f"dataset: {anomalies.dataset_anomaly_info.description}")
    return lines
