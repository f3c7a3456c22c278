"""The whole server in the test's process, over a Unix socket: config, health, limits, and pushes that are broken."""

import queue
import shutil
import threading
import time
from pathlib import Path

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import model_management_pb2
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from serving.grpc_server import serve
from serving.server_flags import ServerFlags
from serving.shutdown import Shutdown

WAIT_S = 30
AVAILABLE, END = 30, 50
# grpc.health.v1.HealthCheckResponse as bytes: field 1, a varint.
SERVING, NOT_SERVING, SERVICE_UNKNOWN = b"\x08\x01", b"\x08\x02", b"\x08\x03"


def export(path: Path, number: int) -> Path:
    """A model that answers its number, and has a variable, an asset and warm-up requests."""
    module = tf.Module()
    module.number = tf.Variable([number] * 1000)
    vocabulary = path.parent / "words.txt"
    vocabulary.write_text("word\n")
    module.words = tf.saved_model.Asset(str(vocabulary))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="x")])
    def answer(x):
        return {"number": module.number[0] + 0 * x}

    tf.saved_model.save(module, str(path), signatures={"serving_default": answer})
    return path


class Server:
    """A running `serve` on models below `root`, each model named as its folder."""

    def __init__(self, root: Path, **flags):
        (root / "models.config").touch()
        self.root = root
        self.config_file = root / "models.config"
        self.shutdown = Shutdown(limit_s=WAIT_S)
        self.flags = ServerFlags(
            port=0,
            grpc_socket_path=str(root / "socket"),
            model_config_file=self.config_file,
            file_system_poll_wait_seconds=0.05,
            **flags,
        )
        self.thread = threading.Thread(target=serve, args=(self.flags, self.shutdown), kwargs={"drain_s": WAIT_S})
        self.channel = grpc.insecure_channel(f"unix:{root / 'socket'}")
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def start(self) -> None:
        """Starts it, and returns when every configured model serves."""
        self.thread.start()
        wait_for(lambda: attempt(self.check, b"") == SERVING)

    def configure(self, **models: str) -> None:
        """Writes the config file: models by name, with what their config says beside the path."""
        self.write_config(config_of(self.root, **models))

    def write_config(self, text: str) -> None:
        new = self.config_file.with_suffix(".new")
        new.write_text(text)
        new.rename(self.config_file)

    def predict(self, name, *, label=None, version=None):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = name
        if label:
            request.model_spec.version_label = label
        if version:
            request.model_spec.version.value = version
        request.inputs["x"].CopyFrom(tf.make_tensor_proto([0]))
        response = self.prediction.Predict(request, timeout=WAIT_S, wait_for_ready=True)
        (number,) = response.outputs["number"].int_val
        assert response.model_spec.version.value == number
        return number

    def status(self, name):
        """State, code and text by version."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        response = self.models.GetModelStatus(request, timeout=WAIT_S)
        return {
            entry.version: (entry.state, entry.status.error_code, entry.status.error_message)
            for entry in response.model_version_status
        }

    def reload(self, configs):
        request = model_management_pb2.ReloadConfigRequest()
        for config in configs:
            request.config.model_config_list.config.add(**config)
        return self.models.HandleReloadConfigRequest(request, timeout=WAIT_S)

    def check(self, service):
        return self.channel.unary_unary("/grpc.health.v1.Health/Check")(service, timeout=WAIT_S)

    def watch(self, service):
        """The responses in a queue; None at the end of the stream."""
        responses: queue.Queue[bytes | None] = queue.Queue()

        def read(stream):
            for response in stream:
                responses.put(response)
            responses.put(None)

        stream = self.channel.unary_stream("/grpc.health.v1.Health/Watch")(service)
        threading.Thread(target=read, args=(stream,), daemon=True).start()
        return responses


def config_of(root: Path, **options: str) -> str:
    models = [
        f'config {{ name: "{name}" base_path: "{root / name}" model_platform: "tensorflow" {more} }}'
        for name, more in options.items()
    ]
    return f"model_config_list {{ {' '.join(models)} }}"


def attempt(call, *arguments, **options):
    """What the call returns, or code and text of its refusal."""
    try:
        return call(*arguments, **options)
    except grpc.RpcError as error:
        return error.code().name, error.details()


def wait_for(condition):
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Versions 1 and 2."""
    folder = tmp_path_factory.mktemp("exported")
    return {number: export(folder / str(number), number) for number in (1, 2)}


@pytest.fixture(scope="module")
def server(exported, tmp_path_factory):
    """Serves `shop`, newest version 1: a test puts back what it changes."""
    root = tmp_path_factory.mktemp("s")
    push(exported[1], root / "shop" / "1")
    server = Server(root, model_config_file_poll_wait_seconds=0.05, max_request_bytes=10_000, grpc_max_threads=2)
    server.configure(shop="")
    server.start()
    assert server.predict("shop") == 1
    yield server
    watched = server.watch(b"")
    assert watched.get(timeout=WAIT_S) == SERVING
    server.shutdown.ask()
    assert watched.get(timeout=WAIT_S) == NOT_SERVING
    assert watched.get(timeout=WAIT_S) is None
    server.thread.join(5)  # of the 30 seconds to drain: a watcher does not take them
    assert not server.thread.is_alive()


def push(exported: Path, path: Path) -> None:
    """As the Pusher does: to a temporary name, then renamed."""
    copy = path.parent / f".tmp-{path.name}"
    shutil.copytree(exported, copy)
    copy.rename(path)


def truncate_variables(path: Path) -> None:
    (variables,) = path.glob("variables/*.data-*")
    variables.write_bytes(variables.read_bytes()[:100])


def change_signature(path: Path) -> None:
    """Another input type in the file's signature than its function has."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    saved.meta_graphs[0].signature_def["serving_default"].inputs["x"].dtype = tf.float32.as_datatype_enum
    (path / "saved_model.pb").write_bytes(saved.SerializeToString())


def write_bad_warmup(path: Path) -> None:
    (path / "assets.extra").mkdir()
    (path / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"not a TFRecord, however long it is")


@pytest.mark.parametrize(
    ("corrupt", "code", "text"),
    [
        (truncate_variables, 11, "OutOfRangeError: Graph execution error: Read less bytes than requested"),
        (lambda path: (path / "assets" / "words.txt").unlink(), 5, "no file assets/words.txt; push it again"),
        (
            change_signature,
            3,
            "signature 'serving_default' declares input 'x' as float32, and the graph has int32; export it again",
        ),
        (
            lambda path: (path / "saved_model.pb").unlink(),
            5,
            "Could not find SavedModel .pb or .pbtxt at supplied export directory path: ",
        ),
        (lambda path: (path / "saved_model.pb").write_bytes(b"garbage"), 2, "DecodeError: Error parsing message"),
        (write_bad_warmup, 15, "Please verify your warmup data is in TFRecord format."),
    ],
)
def test_corrupt_push_leaves_the_old_version_and_a_repaired_one_is_taken(server, exported, corrupt, code, text):
    base = server.root / "shop"
    shutil.copytree(exported[2], base / ".tmp-2")
    corrupt(base / ".tmp-2")
    (base / ".tmp-2").rename(base / "2")
    # A version that failed before is remembered until it is tried again.
    wait_for(lambda: text in server.status("shop").get(2, (0, 0, ""))[2])
    state, error_code, error = server.status("shop")[2]
    assert (state, error_code) == (END, code)
    assert text in error
    assert server.status("shop")[1] == (AVAILABLE, 0, "")
    assert server.predict("shop") == 1
    (base / "2").rename(base / ".broken")
    push(exported[2], base / "2")
    wait_for(lambda: server.predict("shop") == 2)
    wait_for(lambda: server.status("shop")[1] == (END, 0, ""))
    shutil.rmtree(base / ".broken")
    shutil.rmtree(base / "2")
    wait_for(lambda: server.predict("shop") == 1)


def test_config_file_adds_and_removes_models_and_a_bad_one_is_reported_once(server, exported, capfd):
    for number in (1, 2):
        push(exported[number], server.root / "second" / str(number))
    everything = "model_version_policy { all {} }"
    server.configure(shop="", second=everything)
    wait_for(lambda: attempt(server.predict, "second", version=1) == 1)
    assert [server.predict("second"), server.predict("shop")] == [2, 1]
    server.configure(shop="", second=everything + 'version_labels { key: "stable" value: 1 }')
    wait_for(lambda: attempt(server.predict, "second", label="stable") == 1)
    capfd.readouterr()
    server.write_config("model_config_list { config { base_path: '/shop' } }")
    printed = []
    wait_for(lambda: printed.append(capfd.readouterr().out) or any(printed))
    time.sleep(0.3)  # six more looks at the file
    assert ["".join(printed), capfd.readouterr().out] == [
        "keeping the models as they are: a model needs a name. Received none for base_path: '/shop'\n",
        "",
    ]
    assert [server.predict("second", label="stable"), server.predict("shop")] == [1, 1]
    server.configure(shop="")
    wait_for(lambda: server.status("second") == {2: (END, 0, ""), 1: (END, 0, "")})
    assert attempt(server.predict, "second") == ("NOT_FOUND", "Servable not found for request: Latest(second)")


def test_health_of_all_and_of_each_model(server):
    watched = server.watch(b"\n\x06absent")
    others = [server.watch(b"") for _ in range(4)]  # more than the threads that answer requests
    assert watched.get(timeout=WAIT_S) == SERVICE_UNKNOWN
    assert [other.get(timeout=WAIT_S) for other in others] == [SERVING] * 4
    assert attempt(server.check, b"\n\x06absent") == ("NOT_FOUND", "no model absent")
    server.configure(shop="", absent="")
    assert watched.get(timeout=WAIT_S) == NOT_SERVING
    assert [other.get(timeout=WAIT_S) for other in others] == [NOT_SERVING] * 4
    checked = [server.check(name) for name in (b"\n\x06absent", b"", b"\n\x04shop")]
    assert checked == [NOT_SERVING, NOT_SERVING, SERVING]
    server.configure(shop="")
    assert watched.get(timeout=WAIT_S) == SERVICE_UNKNOWN
    assert others[0].get(timeout=WAIT_S) == SERVING


def test_request_above_the_limit_is_refused(server):
    request = predict_pb2.PredictRequest()
    request.inputs["x"].tensor_content = b"x" * 10_000
    code, text = attempt(server.prediction.Predict, request, timeout=WAIT_S)
    assert code == "RESOURCE_EXHAUSTED"
    assert "larger than max" in text


def test_config_by_request(exported, tmp_path):
    for name, number in (("shop", 1), ("next", 2)):
        push(exported[number], tmp_path / name / str(number))
    server = Server(tmp_path, model_config_file_poll_wait_seconds=0)
    server.configure(shop="")
    server.start()
    try:
        assert server.predict("shop") == 1
        config = {"base_path": str(tmp_path / "next"), "model_platform": "tensorflow"}
        logging = {"log_collector_config": {"filename_prefix": str(tmp_path / "logs/next")}}
        logging["sampling_config"] = {"sampling_rate": 1.0}
        response = server.reload([config | {"name": "next", "logging_config": logging}])
        assert (response.status.error_code, response.status.error_message) == (0, "")
        assert server.predict("next") == 2  # at once: the answer comes when it serves
        assert server.status("shop") == {1: (END, 0, "")}
        text = "Illegal to list model next multiple times in config list"
        assert attempt(server.reload, [config | {"name": "next"}] * 2) == ("INVALID_ARGUMENT", text)
        text = "Request to assign label to version 1 of model next, which is not currently available for inference"
        relabelled = config | {"name": "next", "version_labels": {"old": 1}}
        assert attempt(server.reload, [relabelled]) == ("FAILED_PRECONDITION", text)
        push(exported[1], tmp_path / "broken" / "1")
        (tmp_path / "broken" / "1" / "saved_model.pb").unlink()
        broken = config | {"name": "broken", "base_path": str(tmp_path / "broken")}
        text = (
            "1 model(s) did not become available: {{{name: broken version: 1} due to error: NOT_FOUND: Could not find "
            f"SavedModel .pb or .pbtxt at supplied export directory path: {tmp_path / 'broken' / '1'}}}, }}"
        )
        assert attempt(server.reload, [config | {"name": "next"}, broken]) == ("UNKNOWN", text)
        assert server.predict("next") == 2
        empty = model_management_pb2.ReloadConfigRequest()
        text = (
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported"
        )
        expected = ("INVALID_ARGUMENT", text)
        assert attempt(server.models.HandleReloadConfigRequest, empty, timeout=WAIT_S) == expected
    finally:
        server.shutdown.ask()
        server.thread.join(WAIT_S)
    (log,) = (tmp_path / "logs").iterdir()  # named when the server ended
    records = [prediction_log_pb2.PredictionLog.FromString(text.numpy()) for text in tf.data.TFRecordDataset(str(log))]
    # Of the two requests to `next` the first: the config that came later has no log.
    assert [record.log_metadata.model_spec.version.value for record in records] == [2]


@pytest.mark.parametrize(
    ("flags", "config", "text"),
    [
        ({"grpc_channel_arguments": "a=1,b"}, "", "--grpc_channel_arguments must be name=value,... Received: 'b'"),
        (
            {},
            'version_labels { key: "stable" value: 1 }',
            "Request to assign label to version 1 of model shop, which is not currently available for inference",
        ),
        ({}, "nonsense", 'has no field named "nonsense"'),
    ],
)
def test_flags_that_cannot_be_used_end_it_at_once(tmp_path, capfd, flags, config, text):
    (tmp_path / "models.config").write_text(config_of(tmp_path, shop=config))
    flags = ServerFlags(port=0, model_config_file=tmp_path / "models.config", **flags)
    assert serve(flags, Shutdown(limit_s=WAIT_S), drain_s=0) == 1
    assert text in capfd.readouterr().err


def test_metrics_that_nobody_can_read_are_said(tmp_path, capfd):
    (tmp_path / "monitoring").write_text("prometheus_config { enable: true }")
    (tmp_path / "ssl").write_text("client_verify: true")  # without a key: it ends at once
    files = {"monitoring_config_file": tmp_path / "monitoring", "ssl_config_file": tmp_path / "ssl"}
    assert serve(ServerFlags(port=0, model_base_path=tmp_path, **files), Shutdown(limit_s=WAIT_S), drain_s=0) == 1
    text = "Nobody can read the metrics at /monitoring/prometheus/metrics: give --rest_api_port\n"
    assert text in capfd.readouterr().err
