"""Which models to serve, from where and which of their versions: TF Serving's ModelServerConfig, checked."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import file_system_storage_path_source_pb2
from tensorflow_serving.config import logging_config_pb2
from tensorflow_serving.config import model_server_config_pb2

from serving.request_log import LogTarget
from serving.server_flags import ServerFlags
from serving.version_folders import LATEST
from serving.version_folders import VersionPolicy

_PLATFORM = "tensorflow"
_TYPE_UNSPECIFIED, _TYPE_TENSORFLOW = 0, 1


@dataclass(frozen=True)
class ModelConfig:
    """One model.

    Attributes:
        name: As requests name it.
        base_path: Folder of version directories.
        policy: Which versions are served.
        labels: Version by label; requests may use a label in place of a number.
        log: Where samples of the requests are logged; None if they are not.
    """

    name: str
    base_path: Path
    policy: VersionPolicy = LATEST
    labels: Mapping[str, int] = field(default_factory=dict)
    log: LogTarget | None = None


def from_flags(flags: ServerFlags) -> list[ModelConfig]:
    """The models of `--model_config_file`, else the one of `--model_name` and `--model_base_path`.

    Raises:
        ValueError: The file is not a ModelServerConfig that can be served.
        OSError: It cannot be read.
    """
    if flags.model_config_file is not None:
        return from_file(flags.model_config_file)
    if flags.model_base_path is None:
        raise ValueError("neither --model_config_file nor --model_base_path is given")
    return [ModelConfig(flags.model_name, flags.model_base_path)]


def from_file(path: Path) -> list[ModelConfig]:
    """The models of a ModelServerConfig in text form; raises `ValueError` and `OSError` as `from_flags`."""
    config = model_server_config_pb2.ModelServerConfig()
    try:
        text_format.Parse(path.read_bytes(), config)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"Invalid protobuf file: '{path}': {error}") from error
    if config.WhichOneof("config") != "model_config_list":
        # TF Serving's custom_model_config is for servers built with a loader of their own.
        raise ValueError(f"{path} must have a model_config_list, and nothing else")
    return from_proto(config.model_config_list)


def from_proto(config_list: model_server_config_pb2.ModelConfigList) -> list[ModelConfig]:
    """The models of a list; raises `ValueError`, with TF Serving's text where it refuses the same."""
    models = [_model(config) for config in config_list.config]
    _check_names_differ(models)
    return models


def _check_names_differ(models: Sequence[ModelConfig]) -> None:
    names = set()
    for model in models:
        if model.name in names:
            raise ValueError(f"Illegal to list model {model.name} multiple times in config list")
        names.add(model.name)


def _model(config: model_server_config_pb2.ModelConfig) -> ModelConfig:
    if not config.name:
        raise ValueError(f"a model needs a name. Received none for base_path: {config.base_path!r}")
    _check_platform(config)
    base_path = Path(config.base_path)
    # Also refuses what TF Serving reads from elsewhere, such as gs://bucket/model.
    if not base_path.is_absolute():
        raise ValueError(
            f"Expected model {config.name} to have an absolute path or URI; got base_path()={config.base_path}"
            + ("; this server reads local files only" if "://" in config.base_path else "")
        )
    try:
        policy = _policy(config.model_version_policy)
        log = _log_target(config.logging_config) if config.HasField("logging_config") else None
    except ValueError as error:
        raise ValueError(f"model {config.name}: {error}") from error
    return ModelConfig(config.name, base_path, policy=policy, labels=dict(config.version_labels), log=log)


def _check_platform(config: model_server_config_pb2.ModelConfig) -> None:
    if config.model_type != _TYPE_UNSPECIFIED and config.model_platform:
        raise ValueError(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform."
        )
    if config.model_type not in (_TYPE_UNSPECIFIED, _TYPE_TENSORFLOW):
        raise ValueError(f"ModelServerConfig::model_type choice {config.model_type} not supported.")
    platform = _PLATFORM if config.model_type == _TYPE_TENSORFLOW else config.model_platform
    if not platform:
        raise ValueError(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform."
        )
    if platform != _PLATFORM:
        raise ValueError(f"Model {config.name} requests unsupported platform {platform}")


def _policy(
    policy: file_system_storage_path_source_pb2.FileSystemStoragePathSourceConfig.ServableVersionPolicy,
) -> VersionPolicy:
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return VersionPolicy(limit=None)
    if choice == "specific":
        return VersionPolicy(limit=None, numbers=frozenset(policy.specific.versions))
    return VersionPolicy(limit=max(policy.latest.num_versions, 1))


def _log_target(config: logging_config_pb2.LoggingConfig) -> LogTarget:
    # TF Serving's `type` names a collector that is linked in; here files are the one there is.
    return LogTarget(config.log_collector_config.filename_prefix, config.sampling_config.sampling_rate)
