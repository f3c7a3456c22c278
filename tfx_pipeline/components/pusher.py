"""VersionedPusher: copies a blessed retriever under the version that its answers name, all at once or not at all."""

import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any

from tfx.components.pusher import component
from tfx.components.pusher import executor
from tfx.dsl.components.base import executor_spec
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils
from tfx.utils import proto_utils

from tfx_pipeline.retriever_artifact import VERSION_PROPERTY
from tfx_pipeline.stored_versions import PARTIAL
from tfx_pipeline.stored_versions import RETIRED
from tfx_pipeline.stored_versions import served_number
from tfx_pipeline.stored_versions import stored_versions

log = logging.getLogger(__name__)


class _Executor(executor.Executor):
    """The stock executor names versions by the clock and copies in place."""

    def Do(self, input_dict: dict, output_dict: dict, exec_properties: dict) -> None:  # noqa: N802 (name fixed by TFX)
        """Pushes when every blessing is there; else marks the artifact as not pushed."""
        pushed = artifact_utils.get_single_instance(output_dict["pushed_model"])
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        model = artifact_utils.get_single_instance(input_dict["model"])
        version = model.get_string_custom_property(VERSION_PROPERTY)
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties["push_destination"], destination)
        base = Path(destination.filesystem.base_directory)
        kept_versions = json.loads(exec_properties["custom_config"])["kept_versions"]
        target = push(Path(self.GetModelPath(input_dict)), base, version, kept_versions=kept_versions)
        self._MarkPushed(pushed, pushed_destination=str(target), pushed_version=version)


class VersionedPusher(component.Pusher):
    """Pusher to a local file system.

    Args:
        model: retriever with its version noted on the artifact.
        model_blessing: of the evaluator.
        infra_blessing: of the server check.
        base_directory: `<base_directory>/<version>` is what TF Serving reads.
        kept_versions: newest versions that stay there.
        run_id: makes each run's push a new one, so that TFX's cache never answers for a folder that was deleted.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(_Executor)

    def __init__(
        self,
        model: Any,
        model_blessing: Any,
        infra_blessing: Any,
        *,
        base_directory: str,
        kept_versions: int,
        run_id: str,
    ) -> None:
        filesystem = pusher_pb2.PushDestination.Filesystem(base_directory=base_directory)
        super().__init__(
            model=model,
            model_blessing=model_blessing,
            infra_blessing=infra_blessing,
            push_destination=pusher_pb2.PushDestination(filesystem=filesystem),
            custom_config={"run_id": run_id, "kept_versions": kept_versions},
        )


def push(model: Path, base: Path, version: str, *, kept_versions: int) -> Path:
    """Copies to a non-numeric name, which TF Serving ignores, renames, and drops all but the newest versions.

    Args:
        model: SavedModel folder.
        base: folder of the versions.
        version: a positive integer.
        kept_versions: how many stay, those that a rollback put aside counted. The pushed and the served one stay anyway.

    Returns:
        The folder of the version; one that is already there is kept, for a version never changes.

    Raises:
        ValueError: the version is no positive integer, or a rollback put it aside.
    """
    if not re.fullmatch(r"[1-9][0-9]*", version):
        raise ValueError(f"The retriever's version must be a positive integer. Received: {version!r}")
    base.mkdir(parents=True, exist_ok=True)
    target, partial, retired = (base / f"{before}{version}" for before in ("", PARTIAL, RETIRED))
    if retired.exists():
        raise ValueError(
            f"Version {version} was put aside by a rollback: {retired}. Serve it again with `python -m tfx_pipeline.rollback`, "
            "or change what was wrong with it, so that there is a new version."
        )
    for left in base.glob(f"{PARTIAL}*"):
        shutil.rmtree(left)
    if not target.exists():
        shutil.copytree(model, partial)
        partial.rename(target)
        log.info("Pushed version %s to %s", version, target)
    _drop_old(base, pushed=int(version), kept_versions=kept_versions)
    return target


def _drop_old(base: Path, *, pushed: int, kept_versions: int) -> None:
    versions = stored_versions(base)
    needed = (pushed, served_number(versions))
    for number, path, _ in versions[:-kept_versions]:
        if number not in needed:
            gone = base / f"{PARTIAL}{number}"  # never half there under its own name
            path.rename(gone)
            shutil.rmtree(gone)
