"""Merges concurrent requests for one signature into one run of the graph, as TF Serving's dynamic batching does.

Like TF Serving's, with three differences, so that a request is answered as it is alone:

- What may not be merged runs apart: requests whose shapes differ beyond dimension 0 (TF Serving fails all requests of
  such a batch with FAILED_PRECONDITION) and signatures with an input or output without a batch dimension (it refuses them).
- `pad_variable_length_inputs` merges requests of widths within a factor of two, and pads strings and floats with the
  contract's missing values. TF Serving merges all widths, and pads with the first element of the request's tensor: a
  history that is shorter than its neighbour's then has its first item many times, and a retriever answers to that. In
  production let the client pad histories to one width.
- When a merged run fails, its requests run again one by one, so that one bad request fails alone (TF Serving: all of them).

As in TF Serving, an answer has as many columns as the largest `k` of its batch, of which a client keeps its own.
"""

import contextlib
import functools
import threading
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from serving import merged_tensors
from serving.batching_parameters import BatchingParameters
from serving.merged_tensors import Inputs
from serving.merged_tensors import Outputs
from serving.model_requests import RequestError
from serving.model_requests import invalid_argument
from serving.saved_model import ServedModel

Shapes = tuple[tuple[int, ...], ...]


def batched(load: Callable[[Path], ServedModel], parameters: BatchingParameters) -> Callable[[Path], ServedModel]:
    """A loader of models that merge concurrent requests; all of them share `num_batch_threads` runs at a time."""
    slots = threading.Semaphore(parameters.num_batch_threads)
    return lambda path: BatchedModel(load(path), parameters, slots)


class BatchedModel(ServedModel):
    """A model whose `run` is merged with those of other threads.

    It has no threads of its own: the thread of a batch's first request waits for the others and runs the batch.
    """

    def __init__(self, model: ServedModel, parameters: BatchingParameters, slots: threading.Semaphore) -> None:
        super().__init__(model.signature_defs, model.calls)
        self._model = model
        self._queues = {
            name: _Queue(functools.partial(model.run, name), definition, parameters, slots)
            for name, definition in model.signature_defs.items()
            if merged_tensors.has_batch_dimension(definition)
        }

    def run(self, name: str, inputs: Inputs) -> Outputs:
        """Outputs of signature `name` by name.

        Raises:
            RequestError: INVALID_ARGUMENT for inputs that differ in batch size or are larger than a batch may be,
                UNAVAILABLE if too many batches wait.
            tf.errors.OpError: An operation's error.
        """
        queue = self._queues.get(name)
        return queue.run(inputs) if queue else self._model.run(name, inputs)


class _Request:
    """The inputs of one `run`; `outputs` stays None where a merged run failed."""

    def __init__(self, inputs: Inputs, num_rows: int) -> None:
        self.inputs = inputs
        self.num_rows = num_rows
        self.outputs: Outputs | None = None


class _Batch:
    """Requests that run together; the first one's thread runs them."""

    def __init__(self) -> None:
        self.requests: list[_Request] = []
        self.is_full = threading.Event()
        self.is_done = threading.Event()

    def num_rows(self) -> int:
        return sum(request.num_rows for request in self.requests)


class _Queue:
    """Batches of one signature of one version. Those that wait for a run still take requests until they are full."""

    def __init__(
        self,
        run: Callable[[Inputs], Outputs],
        definition: meta_graph_pb2.SignatureDef,
        parameters: BatchingParameters,
        slots: threading.Semaphore,
    ) -> None:
        self._run = run
        self._parameters = parameters
        self._slots = slots
        self._names = sorted(definition.inputs)
        pads = parameters.pad_variable_length_inputs
        self._padded_dims = {
            name: merged_tensors.paddable_dims(info) if pads else frozenset()
            for name, info in definition.inputs.items()
        }
        self._lock = threading.Lock()
        self._waiting: dict[Shapes, list[_Batch]] = {}

    def run(self, inputs: Inputs) -> Outputs:
        request = _Request(inputs, self._num_rows(inputs))
        if request.num_rows == 0:
            return self._run(inputs)
        shapes = self._shapes(inputs)
        batch = self._join(request, shapes)
        if batch.requests[0] is request:
            self._lead(batch, shapes)
        else:
            batch.is_done.wait()
        if request.outputs is not None:
            return request.outputs
        with self._slots:
            return self._run(inputs)

    def _num_rows(self, inputs: Inputs) -> int:
        sizes = {inputs[name].shape[0] for name in self._names}
        if len(sizes) > 1:
            raise invalid_argument("Batching Run() input tensors must have equal 0th-dimension size")
        (size,) = sizes
        limit = self._parameters.max_batch_size
        if size > limit:
            raise invalid_argument(f"Task size {size} is larger than maximum input batch size {limit}")
        return size

    def _shapes(self, inputs: Inputs) -> Shapes:
        """What requests must share to be merged: sizes, or their number of binary digits where they may be padded."""
        return tuple(
            tuple(
                # Of widths within a factor of two, padding at most doubles what the rows take.
                size.bit_length() if dim in self._padded_dims[name] else size
                for dim, size in enumerate(inputs[name].shape)
                if dim
            )
            for name in self._names
        )

    def _join(self, request: _Request, shapes: Shapes) -> _Batch:
        limit, max_waiting = self._parameters.max_batch_size, self._parameters.max_enqueued_batches
        with self._lock:
            waiting = self._waiting.setdefault(shapes, [])
            if not waiting or waiting[-1].num_rows() + request.num_rows > limit:
                if len(waiting) >= max_waiting:
                    raise RequestError(
                        grpc.StatusCode.UNAVAILABLE,
                        "The batch scheduling queue to which this task was submitted is full; currently "
                        f"{len(waiting)} batches enqueued and max_enqueued_batches is {max_waiting}",
                    )
                if waiting:
                    waiting[-1].is_full.set()
                waiting.append(_Batch())
            batch = waiting[-1]
            batch.requests.append(request)
            if batch.num_rows() >= limit:
                batch.is_full.set()
            return batch

    def _lead(self, batch: _Batch, shapes: Shapes) -> None:
        """Waits for more requests and for a free run, then answers the batch's requests, or none if the run fails."""
        batch.is_full.wait(self._parameters.batch_timeout_micros / 1e6)
        try:
            with self._slots:
                self._close(batch, shapes)
                if len(batch.requests) == 1:
                    self._answer(batch.requests)
                    return
                # A failed request must not fail the others: each then runs alone and gets its own error.
                with contextlib.suppress(tf.errors.OpError):
                    self._answer(batch.requests)
        finally:
            batch.is_done.set()

    def _close(self, batch: _Batch, shapes: Shapes) -> None:
        with self._lock:
            self._waiting[shapes].remove(batch)
            if not self._waiting[shapes]:
                del self._waiting[shapes]

    def _answer(self, requests: Sequence[_Request]) -> None:
        num_rows = sum(request.num_rows for request in requests)
        allowed = self._parameters.allowed_batch_sizes
        num_padding = next((size for size in allowed if size >= num_rows), num_rows) - num_rows
        if len(requests) == 1 and not num_padding:
            requests[0].outputs = self._run(requests[0].inputs)
            return
        merged = {
            name: merged_tensors.merge([request.inputs[name] for request in requests], num_padding_rows=num_padding)
            for name in self._names
        }
        answers = merged_tensors.split(self._run(merged), [*(request.num_rows for request in requests), num_padding])
        if answers is not None:
            for request, outputs in zip(requests, answers[:-1], strict=True):
                request.outputs = outputs
