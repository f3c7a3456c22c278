"""ServerValidator: loads the retriever in a real model server process and asks it through gRPC before it is pushed."""

import logging
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc
from tfx.dsl.component.experimental.annotations import InputArtifact
from tfx.dsl.component.experimental.annotations import OutputArtifact
from tfx.dsl.component.experimental.annotations import Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Examples
from tfx.types.standard_artifacts import InfraBlessing
from tfx.types.standard_artifacts import Model
from tfx.utils import path_utils

from schemas import contract
from tfx_pipeline.components.indexer import load_catalog
from tfx_pipeline.components.indexer import split_files
from tfx_pipeline.retriever_artifact import VERSION_PROPERTY

log = logging.getLogger(__name__)

_START_TIMEOUT_S = 180.0
_REQUEST_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 30.0
_NUM_QUERIES = 8


@component
def ServerValidator(  # noqa: N802 (a TFX component is named like a class)
    examples: InputArtifact[Examples],
    retriever: InputArtifact[Model],
    blessing: OutputArtifact[InfraBlessing],
    code_digest: Parameter[str],
) -> None:
    """Blesses a retriever whose served answers are whole.

    TFX's InfraValidator starts TensorFlow Serving in Docker or Kubernetes only.
    """
    del code_digest  # part of the cache key only
    version = retriever.get_string_custom_property(VERSION_PROPERTY)
    item_ids = set(load_catalog(retriever).item_ids.tolist())
    queries = first_rows(split_files(examples, "eval"))
    with served(Path(path_utils.serving_model_path(retriever.uri)), version) as address:
        response = ask(address, queries)
    check(response, num_queries=int(tf.shape(queries)[0]), version=version, item_ids=item_ids)
    blessing.set_int_custom_property("blessed", 1)
    Path(blessing.uri).mkdir(parents=True, exist_ok=True)
    Path(blessing.uri, "INFRA_BLESSED").touch()
    log.info("Served and queried version %s: %s queries answered", version, int(tf.shape(queries)[0]))


def first_rows(files: list[str]) -> tf.Tensor:
    """The first serialized examples of a split, [n] strings, n <= 8.

    Raises:
        ValueError: the split is empty, so that there is nothing to ask the server.
    """
    rows = next(iter(tf.data.TFRecordDataset(files, "GZIP").batch(_NUM_QUERIES)), None)
    if rows is None:
        raise ValueError(
            f"The split eval must hold an example to query the served retriever with. Received: none in {files}; "
            "change examples.cut or examples.eval_days so that events fall after the cut."
        )
    return rows


@contextmanager
def served(model: Path, version: str) -> Iterator[str]:
    """Serves a SavedModel in a process of its own; yields its address.

    Raises:
        RuntimeError: the server exits or does not serve within the time limit; with what it printed.
    """
    base = Path(tempfile.mkdtemp(prefix="server_validator_"))
    (base / version).symlink_to(model.resolve(), target_is_directory=True)
    command = [sys.executable, "-m", "serving.model_server", "--port=0", f"--model_name={contract.MODEL_NAME}"]
    process = subprocess.Popen(
        [*command, f"--model_base_path={base}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield _wait_for_address(process, version)
    finally:
        _stop(process)
        shutil.rmtree(base)


def ask(address: str, queries: tf.Tensor) -> dict[str, Any]:
    """One Predict of `serving_default` on serialized examples; outputs as numpy arrays."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = contract.MODEL_NAME
    request.model_spec.signature_name = contract.SIGNATURE_DEFAULT
    request.inputs[contract.INPUT_EXAMPLES].CopyFrom(tf.make_tensor_proto(queries))
    with grpc.insecure_channel(address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.Predict(request, timeout=_REQUEST_TIMEOUT_S)
    return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}


def check(response: dict[str, Any], *, num_queries: int, version: str, item_ids: set[bytes]) -> None:
    """Raises a ValueError when an answer has the wrong version, a wrong shape, doubles or items of no catalogue."""
    versions = set(response[contract.OUTPUT_INDEX_VERSION].tolist())
    if versions != {version.encode()}:
        raise ValueError(f"Served answers must name version {version}. Received: {versions}")
    answers = response[contract.OUTPUT_ITEM_IDS]
    expected = (num_queries, min(contract.DEFAULT_K, len(item_ids)))
    if answers.shape != expected or response[contract.OUTPUT_SCORES].shape != expected:
        raise ValueError(f"Served answers must have shape {expected}. Received: {answers.shape}")
    for answer in answers:
        found = answer[answer != contract.MISSING_STRING.encode()]  # the rest of what is not available is padding
        if len(found) == 0 or len(set(found)) != len(found) or not set(found) <= item_ids:
            raise ValueError(
                f"Served items must be distinct and of the catalogue, at least one. Received: {answer[:10].tolist()}"
            )
    scores = response[contract.OUTPUT_SCORES]
    if not (scores[:, :-1] >= scores[:, 1:] - 1e-6).all():
        raise ValueError(f"Served scores must be finite and descend. Received: {scores[0, :10].tolist()}")


def _stop(process: subprocess.Popen) -> None:
    """Asks the server to drain; one that takes too long is killed, for its answers are in."""
    process.terminate()
    try:
        process.wait(timeout=_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        log.warning("The model server did not stop within %.0f s and was killed", _STOP_TIMEOUT_S)
        process.kill()
        process.wait()


def _wait_for_address(process: subprocess.Popen, version: str) -> str:
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_pump, args=(process, lines), daemon=True).start()
    said: list[str] = []
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        try:
            line = lines.get(timeout=1.0)
        except queue.Empty:
            continue
        if line is None:
            break
        said.append(line)
        if found := re.search(rf"Serving {contract.MODEL_NAME} version {version} at (\S+)", line):
            return found.group(1)
    raise RuntimeError(f"The model server does not serve version {version}. It said: {' | '.join(said) or 'nothing'}")


def _pump(process: subprocess.Popen, lines: "queue.Queue[str | None]") -> None:
    for line in process.stdout or ():
        lines.put(line.strip())
    lines.put(None)
