"""What all requests to the model server share: the models it serves, and errors with TF Serving's codes and texts."""

import contextlib
import gc
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

import grpc
from tensorflow_serving.apis import model_pb2

from serving.model_config import ModelConfig
from serving.saved_model import ServedModel
from serving.versions import ModelVersions
from serving.versions import VersionNotFoundError
from serving.versions import VersionStatus

STATUS_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


class RequestError(Exception):
    """A request that cannot be answered, with the gRPC code and text to send back."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def invalid_argument(text: str) -> RequestError:
    """The error for a request that is wrong whatever the server's state."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, text)


def model_spec(request: object) -> model_pb2.ModelSpec:
    """The request's model spec; raises `RequestError` unless it has one that names a model."""
    if not request.HasField("model_spec"):  # type: ignore[attr-defined]
        raise invalid_argument("Missing ModelSpec")
    spec = request.model_spec  # type: ignore[attr-defined]
    if not spec.name:
        raise invalid_argument("ModelSpec has no name specified.")
    return spec


class ServedModels:
    """The models of this server, found by model spec.

    `configure` and changes to the versions are for one thread at a time; everything else is safe from any thread.

    Args:
        load: Makes a model of a version directory, or raises `LoadError`.
        allow_unavailable_labels: Whether a label may name a version that does not serve yet, unless the label moves.
    """

    def __init__(self, load: Callable[[Path], ServedModel], *, allow_unavailable_labels: bool = False) -> None:
        self._load = load
        self._allow_unavailable_labels = allow_unavailable_labels
        self._configs: dict[str, ModelConfig] = {}
        # Also of models that are no longer configured: their requests may still run, and their status is remembered.
        self._versions: dict[str, ModelVersions[ServedModel]] = {}

    def configure(self, configs: Sequence[ModelConfig]) -> None:
        """Replaces the models: the versions of those that are left out unload when their requests are done.

        Raises:
            RequestError: A label names a version that does not serve; nothing was changed.
        """
        for config in configs:
            self._check_labels(config)
        for config in configs:
            if config.name in self._versions:
                self._versions[config.name].configure(config.base_path, policy=config.policy)
            else:
                self._versions[config.name] = ModelVersions(config.base_path, self._load, policy=config.policy)
        removed = self._configs.keys() - {config.name for config in configs}
        self._configs = {config.name: config for config in configs}
        for name in removed:
            self._versions[name].retire()

    def collect_garbage(self) -> None:
        """Frees models that were dropped. Not for a request's thread: its own model is still referred to there."""
        if any([versions.take_garbage() for versions in self._versions.values()]):
            gc.collect()

    def configs(self) -> Iterable[ModelConfig]:
        """The configured models."""
        return self._configs.values()

    def versions(self, name: str) -> ModelVersions[ServedModel]:
        """The versions of a model that is or was configured; raises `KeyError` for another."""
        return self._versions[name]

    @contextlib.contextmanager
    def use(self, spec: model_pb2.ModelSpec) -> Iterator[tuple[int, ServedModel]]:
        """Holds the version and model that `spec` asks for.

        Raises:
            RequestError: NOT_FOUND if it does not serve, INVALID_ARGUMENT for an unknown label.
        """
        number = self._number(spec)
        with contextlib.ExitStack() as stack:
            try:
                held = stack.enter_context(self._versions[spec.name].use(number))
            except (KeyError, VersionNotFoundError):
                asked = f"Latest({spec.name})" if number is None else f"Specific({spec.name}, {number})"
                text = f"Servable not found for request: {asked}"
                raise RequestError(grpc.StatusCode.NOT_FOUND, text) from None
            yield held

    def statuses(self, spec: model_pb2.ModelSpec) -> list[VersionStatus]:
        """State and error of every version of a model, or of the one that `spec` names by number.

        As in TF Serving a label asks for every version, and a model that was removed is remembered.

        Raises:
            RequestError: NOT_FOUND if there is none.
        """
        known = self._versions[spec.name].statuses() if spec.name in self._versions else []
        asked = (
            [status for status in known if status.number == spec.version.value] if spec.HasField("version") else known
        )
        if not asked:
            which = f"version {spec.version.value}" if spec.HasField("version") else "any versions"
            raise RequestError(grpc.StatusCode.NOT_FOUND, f"Could not find {which} of model {spec.name}")
        return asked

    def _number(self, spec: model_pb2.ModelSpec) -> int | None:
        """The version that `spec` asks for, None for the newest."""
        if not spec.HasField("version_label"):
            return spec.version.value if spec.HasField("version") else None
        config = self._configs.get(spec.name)
        if config is None or spec.version_label not in config.labels:
            raise invalid_argument(f"Unrecognized servable version label: {spec.version_label}")
        return config.labels[spec.version_label]

    def _check_labels(self, config: ModelConfig) -> None:
        known = self._configs.get(config.name)
        available = self._versions[config.name].available() if config.name in self._versions else frozenset()
        for label, number in config.labels.items():
            is_moved = known is not None and known.labels.get(label, number) != number
            if number not in available and (is_moved or not self._allow_unavailable_labels):
                raise RequestError(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f"Request to assign label to version {number} of model {config.name}, "
                    "which is not currently available for inference",
                )
