"""Keeps the served versions up to date with the folders and the config, and reports each change in one line."""

import sys
import threading
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path

import grpc

from serving import model_config
from serving.model_config import ModelConfig
from serving.model_requests import STATUS_BY_NUMBER
from serving.model_requests import RequestError
from serving.model_requests import ServedModels
from serving.versions import State
from serving.versions import VersionStatus


class VersionPoller:
    """The one place that changes the versions of `models` while they serve; safe from any thread.

    Args:
        models: What to keep up to date.
        address: Where the server listens, to report.
        on_change: Called after each look at the folders.
    """

    def __init__(self, models: ServedModels, *, address: str, on_change: Callable[[], None]) -> None:
        self._models = models
        self._address = address
        self._on_change = on_change
        self._lock = threading.Lock()
        self._last_trouble: dict[str, str] = {}

    def poll(self) -> None:
        """Loads and unloads what changed in the folders of every model."""
        with self._lock:
            self._poll_all()

    def replace(self, configs: Sequence[ModelConfig]) -> None:
        """Replaces the models and loads the new ones; raises `RequestError` as `ServedModels.configure`."""
        with self._lock:
            self._models.configure(configs)
            self._poll_all()

    def reload(self, configs: Sequence[ModelConfig]) -> None:
        """Replaces the models as `replace`, and insists on those that are new.

        Raises:
            RequestError: Also UNKNOWN if a new model has no version that loads; it stays configured. (TF Serving waits
                where there is no version at all.)
        """
        known = {config.name for config in self._models.configs()}
        self.replace(configs)
        missing = [
            self._missing(config)
            for config in configs
            if config.name not in known and not self._models.versions(config.name).available()
        ]
        if missing:
            text = f"{len(missing)} model(s) did not become available: {{{''.join(missing)}}}"
            raise RequestError(grpc.StatusCode.UNKNOWN, text)

    def replace_by_file(self, path: Path) -> None:
        """Replaces the models by those of a ModelServerConfig; a bad one changes nothing, and is reported once."""
        try:
            configs = model_config.from_file(path)
            if configs != list(self._models.configs()):
                self.replace(configs)
        except (OSError, ValueError, RequestError) as error:
            self._report_trouble(str(path), f"keeping the models as they are: {error}")
            return
        self._last_trouble.pop(str(path), None)

    def _poll_all(self) -> None:
        self._models.collect_garbage()
        for config in self._models.configs():
            self._poll_model(config)
        self._on_change()

    def _poll_model(self, config: ModelConfig) -> None:
        versions = self._models.versions(config.name)
        try:
            changes = versions.poll()
        except OSError as error:
            self._report_trouble(config.name, f"cannot read the versions of {config.name}, trying again: {error}")
            return
        for change in changes:
            self._report_change(config, change)
        if not versions.statuses():
            self._report_trouble(
                config.name,
                f"Waiting at {self._address}: no version of {config.name} below {config.base_path} yet",
            )

    def _missing(self, config: ModelConfig) -> str:
        failed = [status for status in self._models.versions(config.name).statuses() if status.error]
        if not failed:
            return f"{{no version of {config.name} below {config.base_path}}}, "
        code = STATUS_BY_NUMBER[failed[0].error_code].name
        return f"{{{{name: {config.name} version: {failed[0].number}}} due to error: {code}: {failed[0].error}}}, "

    def _report_change(self, config: ModelConfig, change: VersionStatus) -> None:
        self._last_trouble.pop(config.name, None)
        version = f"{config.name} version {change.number}"
        if change.state is State.END:
            print(f"{version} failed to load and is not served: {change.error}", file=sys.stderr, flush=True)
        else:
            print(f"Serving {version} at {self._address}", flush=True)

    def _report_trouble(self, subject: str, text: str) -> None:
        """Reports a lasting condition once, not at every poll."""
        if text != self._last_trouble.get(subject):
            self._last_trouble[subject] = text
            print(text, flush=True)
