"""A tiny retriever with a numpy oracle, and a real model server in a process of its own."""

import http.client
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
COUNTRIES = ("DE", "FR")
ITEM_IDS = tuple(f"item-{number}" for number in range(8))
DIM = 4


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


class ToyRetriever:
    """Query = country vector + the history's item vectors, each halved per 10 days of age, as a unit vector."""

    item_ids = ITEM_IDS
    dim = DIM

    def model_version(self, version: int) -> str:
        """Of the towers; the index version is the version directory."""
        return f"towers-{version}"

    def vectors(self, version: int) -> tuple[np.ndarray, np.ndarray]:
        """Country and item vectors, different in each version."""
        random = np.random.default_rng(version)
        shapes = ((len(COUNTRIES), DIM), (len(ITEM_IDS), DIM))
        country, item = (_unit(random.normal(size=shape)).astype(np.float32) for shape in shapes)
        return country, item

    def embed(self, user: dict, *, version: int) -> np.ndarray:
        """Oracle of `embed_query` for one user."""
        country, item = self.vectors(version)
        query = np.full(DIM, 0.01, np.float32)
        if user.get("country") in COUNTRIES:
            query = query + country[COUNTRIES.index(user["country"])]
        for item_id, age_days in zip(user.get("history_item_id", []), user.get("history_age_days", []), strict=True):
            if item_id in ITEM_IDS:
                query = query + item[ITEM_IDS.index(item_id)] * 0.5 ** (age_days / 10)
        return _unit(query)

    def retrieve(self, user: dict, *, version: int, k: int) -> tuple[list[str], np.ndarray]:
        """Oracle of `retrieve` for one user: brute force."""
        scores = self.vectors(version)[1] @ self.embed(user, version=version)
        best = np.argsort(-scores)[:k]
        return [ITEM_IDS[index] for index in best], scores[best]

    def save(self, path: Path, version: int) -> Path:
        """Writes the SavedModel of `version` to `path`."""
        import tensorflow as tf

        country_vectors, item_vectors = self.vectors(version)
        module = tf.Module()
        module.country = tf.Variable(country_vectors)
        module.item = tf.Variable(item_vectors)
        strings, floats, ints = (tf.TensorSpec([None], dtype) for dtype in (tf.string, tf.float32, tf.int32))
        history_ids, history_ages = (tf.TensorSpec([None, None], spec.dtype) for spec in (strings, floats))

        def one_hot(values: tf.Tensor, known: tuple[str, ...]) -> tf.Tensor:
            return tf.cast(values[..., tf.newaxis] == tf.constant(known), tf.float32)

        def embed(country: tf.Tensor, item_ids: tf.Tensor, ages_days: tf.Tensor) -> tf.Tensor:
            weight = tf.where(tf.math.is_nan(ages_days), 0.0, 0.5 ** (ages_days / 10))
            history = tf.einsum("bni,bn,id->bd", one_hot(item_ids, ITEM_IDS), weight, module.item)
            query = one_hot(country, COUNTRIES) @ module.country + history + 0.01
            return tf.linalg.l2_normalize(query, axis=-1)

        def versions(batch: tf.Tensor) -> dict[str, tf.Tensor]:
            named = {"model_version": self.model_version(version), "index_version": str(version)}
            return {name: tf.fill(tf.shape(batch)[:1], text) for name, text in named.items()}

        def search(query: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
            scores, index = tf.math.top_k(tf.matmul(query, module.item, transpose_b=True), k)
            item_ids = tf.gather(tf.constant(ITEM_IDS), index)
            return {"item_ids": item_ids, "scores": scores, **versions(query)}

        @tf.function(input_signature=[strings, history_ids, history_ages, ints])
        def retrieve(country, history_item_id, history_age_days, k):
            tf.debugging.assert_positive(k, message="k must be positive")
            query = embed(country, history_item_id, history_age_days)
            return search(query, tf.minimum(tf.reduce_max(k), len(ITEM_IDS)))

        @tf.function(input_signature=[strings, history_ids, history_ages])
        def embed_query(country, history_item_id, history_age_days):
            query = embed(country, history_item_id, history_age_days)
            return {"embedding": query, **versions(query)}

        @tf.function(input_signature=[strings])
        def serve_examples(examples):
            parsed = tf.io.parse_example(examples, {"country": tf.io.FixedLenFeature([], tf.string, "")})
            empty = tf.fill([tf.shape(examples)[0], 1], "")
            return search(embed(parsed["country"], empty, tf.zeros_like(empty, tf.float32)), len(ITEM_IDS))

        @tf.function(input_signature=[tf.TensorSpec([], tf.int32)])
        def count(limit):
            return {"counted": tf.while_loop(lambda number: number < limit, lambda number: (number + 1,), (0,))[0]}

        signatures = {"retrieve": retrieve, "embed_query": embed_query, "count": count}
        signatures["serving_default"] = serve_examples
        tf.saved_model.save(module, str(path), signatures=signatures)
        return path


class ModelServer:
    """A running `python -m serving.model_server`."""

    def __init__(self, base_path: Path, *flags: str) -> None:
        self.base_path = base_path
        command = [sys.executable, "-m", "serving.model_server", f"--model_base_path={base_path}", "--port=0"]
        self.process = subprocess.Popen(
            [*command, "--file_system_poll_wait_seconds=0.1", *flags],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"},
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.seen: list[str] = []

    def _read(self) -> None:
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))

    def wait_for_line(self, pattern: str, *, timeout_s: float = 90.0) -> re.Match[str]:
        """The first line not yet waited for that matches."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"no line like {pattern!r} in {timeout_s} s; the server printed {self.seen}")
            self.seen.append(line)
            if match := re.search(pattern, line):
                return match

    def wait_until_it_watches(self, timeout_s: float = 60) -> None:
        """Waits until the process has taken SIGTERM over from the system."""
        deadline = time.monotonic() + timeout_s
        while True:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            if int(re.search(r"SigBlk:\s*(\w+)", status).group(1), 16) & 1 << (signal.SIGTERM - 1):
                return
            assert time.monotonic() < deadline, status
            time.sleep(0.01)

    def publish(self, toy: ToyRetriever, version: int) -> None:
        """Puts a version in place as the Pusher does: to a temporary name, then renamed."""
        toy.save(self.base_path / f".tmp-{version}", version)
        (self.base_path / f".tmp-{version}").rename(self.base_path / str(version))

    def remove(self, version: int) -> None:
        (self.base_path / str(version)).rename(self.base_path / f".gone-{version}")
        shutil.rmtree(self.base_path / f".gone-{version}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signals the server and returns its exit status."""
        self.process.send_signal(number)
        status = self.process.wait(timeout=30)
        self._reader.join(timeout=10)
        self.process.stdout.close()
        return status


class InProcessServer:
    """The model server's request path over real gRPC and HTTP in this process, where TensorFlow is imported already."""

    def __init__(
        self,
        base_path: Path,
        model_name: str,
        *,
        max_request_bytes: int = 2**20,
        max_requests: int = 0,
        timeout_s: float = 20.0,
    ):
        from concurrent.futures import ThreadPoolExecutor

        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        from serving import saved_model
        from serving.metrics import Metrics
        from serving.model_config import ModelConfig
        from serving.model_requests import ServedModels
        from serving.prediction_service import PredictionService
        from serving.rest_server import RestServer

        self.base_path = base_path
        models, metrics = ServedModels(saved_model.load), Metrics()
        models.configure([ModelConfig(model_name, base_path)])
        models.versions(model_name).poll()
        self.calls: list = []
        observers = [metrics, self]
        self.grpc = grpc.server(ThreadPoolExecutor(4))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(models, observers), self.grpc
        )
        self.address = f"127.0.0.1:{self.grpc.add_insecure_port('127.0.0.1:0')}"
        self.rest = RestServer(
            models,
            observers,
            host="127.0.0.1",
            port=0,
            num_threads=2,
            timeout_s=timeout_s,
            max_request_bytes=max_request_bytes,
            max_requests=max_requests,
            pages={"/monitoring/prometheus/metrics": metrics},
        )
        self.grpc.start()
        self.rest.start()
        self.channel = grpc.insecure_channel(self.address)
        self.stub = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)

    def observe(self, call) -> None:
        self.calls.append(call)

    def http(self, method: str, path: str, body: str | bytes | None = None) -> tuple[int, str]:
        """Status and body of one HTTP request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.rest.port, timeout=20)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def stop(self) -> None:
        self.channel.close()
        self.grpc.stop(0).wait()
        self.rest.stop(10.0)


def save_numbers(path: Path) -> Path:
    """A SavedModel whose signatures classify and regress tf.Examples with a float `x`, and echo tensors of any type.

    `regress` and `half_plus_two` give x / 2 + 2; `classify` the scores x and 1 - x of the classes `small` and `large`.
    Made with TensorFlow 1's builder: tf.saved_model.save writes Predict signatures only.
    """
    import tensorflow as tf

    v1 = tf.compat.v1
    names = tf.saved_model
    dtypes = {"f32": tf.float32, "f64": tf.float64, "i32": tf.int32, "i64": tf.int64, "u8": tf.uint8}
    dtypes |= {"text": tf.string, "flag": tf.bool, "f16": tf.float16}

    def signature(inputs: dict, outputs: dict, method: str):
        infos = [{name: v1.saved_model.build_tensor_info(t) for name, t in part.items()} for part in (inputs, outputs)]
        return v1.saved_model.build_signature_def(*infos, method)

    with tf.Graph().as_default(), v1.Session() as session:
        examples = v1.placeholder(tf.string, [None], name="examples")
        x = tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([], tf.float32)})["x"]
        classes = tf.tile([["small", "large"]], [tf.size(x), 1])
        scores = tf.stack([x, 1 - x], axis=1)
        raw = v1.placeholder(tf.float32, [None], name="x")
        echoed = {name: v1.placeholder(dtype, None, name=name) for name, dtype in dtypes.items()}
        echoes = {name: tf.identity(tensor) for name, tensor in echoed.items()}
        image = {"image_bytes": echoes["text"]}
        classified = {names.CLASSIFY_OUTPUT_CLASSES: classes, names.CLASSIFY_OUTPUT_SCORES: scores}
        signatures = {
            "serving_default": signature({"x": raw}, {"y": raw / 2 + 2}, names.PREDICT_METHOD_NAME),
            "classify": signature({names.CLASSIFY_INPUTS: examples}, classified, names.CLASSIFY_METHOD_NAME),
            "regress": signature(
                {names.REGRESS_INPUTS: examples}, {names.REGRESS_OUTPUTS: x / 2 + 2}, names.REGRESS_METHOD_NAME
            ),
            "echo": signature(echoed, echoes, names.PREDICT_METHOD_NAME),
            "echo_bytes": signature({"text": echoed["text"]}, image, names.PREDICT_METHOD_NAME),
            "odd": signature({"x": raw}, {"y": raw}, "tensorflow/serving/guess"),
        }
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, [tf.saved_model.SERVING], signatures)
        builder.save()
    return path


@pytest.fixture(scope="session")
def serve_in_process() -> Iterator[Callable[[Path], InProcessServer]]:
    """Serves a folder of versions as `retriever`, in this process."""
    started: list[InProcessServer] = []

    def serve(base_path: Path) -> InProcessServer:
        started.append(InProcessServer(base_path, "retriever"))
        return started[-1]

    yield serve
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def retriever_server(toy, tmp_path_factory, serve_in_process) -> InProcessServer:
    """Version 1 of the toy retriever, in this process."""
    base_path = tmp_path_factory.mktemp("in_process")
    toy.save(base_path / "1", 1)
    return serve_in_process(base_path)


@pytest.fixture(scope="session")
def numbers_server(tmp_path_factory) -> Iterator[InProcessServer]:
    """Version 3 of `save_numbers`, in this process."""
    base_path = tmp_path_factory.mktemp("numbers")
    save_numbers(base_path / "3")
    server = InProcessServer(base_path, "numbers", max_request_bytes=100_000)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def toy() -> ToyRetriever:
    return ToyRetriever()


@pytest.fixture(scope="session")
def start_server() -> Iterator[Callable[..., ModelServer]]:
    started: list[ModelServer] = []

    def start(base_path: Path, *flags: str) -> ModelServer:
        started.append(ModelServer(base_path, *flags))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
            server.stop()


@pytest.fixture(scope="session")
def waiting_server(start_server, tmp_path_factory) -> ModelServer:
    """A server that has no version yet, for one test. It starts with the other, since importing TensorFlow is slow."""
    return start_server(tmp_path_factory.mktemp("no_models"), "--model_name=shop", "--host=localhost")


@pytest.fixture(scope="session")
def model_server(toy, start_server, tmp_path_factory, waiting_server) -> Iterator[ModelServer]:
    """A server of version 1, shared: a test that changes versions puts back the one that it found."""
    server = start_server(tmp_path_factory.mktemp("models"))
    server.publish(toy, 1)
    server.address = server.wait_for_line(r"^Serving retriever version 1 at (\S+)$").group(1)
    yield server
    signalled_s = time.monotonic()
    assert server.stop(signal.SIGTERM) == 0
    assert time.monotonic() - signalled_s < 10  # the time to drain, of which an idle server needs nothing
