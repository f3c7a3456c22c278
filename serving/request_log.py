"""Samples answered Predict requests to files of PredictionLogs, as TF Serving's `logging_config` asks. Imports TensorFlow."""

import functools
import queue
import random
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_log_pb2

from serving.calls import Call
from serving.record_files import RotatingRecords

_PREDICT = "Predict"
_OVERHEAD_BYTES = 1024
"""What a waiting request takes beside its content, roughly."""


@dataclass(frozen=True)
class LogTarget:
    """What `logging_config` says of one model.

    Attributes:
        filename_prefix: Files are called `<filename_prefix>.log.<...>`; a local path, whose folder is made.
        sampling_rate: Share of the answered requests that is written, 0 to 1.
    """

    filename_prefix: str
    sampling_rate: float

    def __post_init__(self) -> None:
        """Raises `ValueError` on a prefix or a rate that cannot be used."""
        if not self.filename_prefix or self.filename_prefix.endswith("/"):
            raise ValueError(f"filename_prefix must name files, not a folder. Received: {self.filename_prefix!r}")
        if not 0 <= self.sampling_rate <= 1:
            raise ValueError(f"sampling_rate must be between 0 and 1. Received: {self.sampling_rate}")


class RequestLogger:
    """A `CallObserver` that never makes a request wait: what its own thread cannot take in time is dropped and counted.

    A record holds the request, and of the answer the model, version and signature, not the outputs: they follow from
    the request and the version, and are many times its size.

    Args:
        targets: By model name; other models are not logged.
        seed: Of the sampling; None for another sample in every process.
        max_waiting_bytes: Of the requests that wait for the thread; what is beyond is dropped.
        max_bytes: Of a file.
        max_age_s: Of a file, in seconds.
    """

    def __init__(
        self,
        targets: Mapping[str, LogTarget],
        *,
        seed: int | None = None,
        max_waiting_bytes: int = 64 * 2**20,
        max_bytes: int = 64 * 2**20,
        max_age_s: float = 60.0,
    ) -> None:
        self._random = random.Random(seed)
        self._waiting: queue.Queue[tuple[LogTarget, Call, int] | None] = queue.Queue()
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting_bytes = 0
        self._records_of = functools.partial(RotatingRecords, max_bytes=max_bytes, max_age_s=max_age_s)
        self._files: dict[str, RotatingRecords] = {}
        self._lock = threading.Lock()
        self._num_dropped = 0
        self._last_report = ""
        self._closed = False
        self._targets: Mapping[str, LogTarget] = {}
        self.update(targets)
        self._thread = threading.Thread(target=self._run, name="request-log", daemon=True)
        self._thread.start()

    @property
    def num_dropped(self) -> int:
        """Sampled requests that are in no file: they came too fast, or the file system failed."""
        return self._num_dropped

    def update(self, targets: Mapping[str, LogTarget]) -> None:
        """Logs by these targets from now on; a folder that cannot be made is reported, and its requests are dropped."""
        if targets == self._targets:
            return
        for target in targets.values():
            try:
                Path(target.filename_prefix).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                self._report(f"cannot make the folder of {target.filename_prefix}.log.*: {error}")
        self._targets = dict(targets)

    def observe(self, call: Call) -> None:
        """Takes one call if it is a Predict that was answered, its model is logged, and the sample has it."""
        target = self._targets.get(call.model_name)
        if target is None or self._closed or call.method != _PREDICT or call.code is not grpc.StatusCode.OK:
            return
        if not isinstance(call.request, predict_pb2.PredictRequest) or self._random.random() >= target.sampling_rate:
            return
        num_bytes = call.request.ByteSize() + _OVERHEAD_BYTES
        with self._lock:
            if self._waiting_bytes + num_bytes > self._max_waiting_bytes:
                self._num_dropped += 1
                return
            self._waiting_bytes += num_bytes
        self._waiting.put((target, call._replace(response=None), num_bytes))

    def close(self, timeout_s: float = 5.0) -> None:
        """Writes what waits and names the files; gives up after `timeout_s` seconds. Calls after it are not logged."""
        self._closed = True
        self._waiting.put(None)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._report(f"its files were not written within {timeout_s:g} s")

    def _run(self) -> None:
        while True:
            try:
                found = self._waiting.get(timeout=self._seconds_left())
            except queue.Empty:
                self._close_files()
                continue
            if found is None:
                break
            target, call, num_bytes = found
            self._write(target, call)
            with self._lock:
                self._waiting_bytes -= num_bytes
            self._close_files()
        self._close_files(only_due=False)

    def _seconds_left(self) -> float | None:
        """Until a file is due; None, to wait for a request, while none is open."""
        return min((left for file in self._files.values() if (left := file.seconds_left()) is not None), default=None)

    def _write(self, target: LogTarget, call: Call) -> None:
        prefix = target.filename_prefix
        file = self._files.setdefault(prefix, self._records_of(prefix))
        try:
            file.write(_prediction_log(call, target.sampling_rate).SerializeToString())
        except (OSError, tf.errors.OpError) as error:
            self._drop(file.abandon() + 1)
            self._report(f"cannot write {prefix}.log.*", str(error))

    def _close_files(self, *, only_due: bool = True) -> None:
        for prefix, file in self._files.items():
            if file.seconds_left() is None or (only_due and file.seconds_left()):
                continue
            try:
                file.close()
            except (OSError, tf.errors.OpError) as error:
                self._drop(file.abandon())
                self._report(f"cannot write {prefix}.log.*", str(error))
            if self._num_dropped:
                self._report(f"{self._num_dropped} sampled requests were dropped so far")

    def _drop(self, number: int) -> None:
        with self._lock:
            self._num_dropped += number

    def _report(self, trouble: str, detail: str = "") -> None:
        """Says a lasting trouble once, not at every request, though its detail changes."""
        if trouble != self._last_report:
            self._last_report = trouble
            print(": ".join(filter(None, ("Request log", trouble, detail))), file=sys.stderr, flush=True)


def _prediction_log(call: Call, sampling_rate: float) -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    spec = log.log_metadata.model_spec
    spec.name, spec.signature_name = call.model_name, call.signature_name
    if call.version is not None:
        spec.version.value = call.version
    log.log_metadata.sampling_config.sampling_rate = sampling_rate
    log.log_metadata.timestamp_secs = int(time.time())
    log.predict_log.request.CopyFrom(call.request)
    log.predict_log.response.model_spec.CopyFrom(spec)
    return log
