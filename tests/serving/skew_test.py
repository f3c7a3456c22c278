"""Planted skew is found and named, and none where there is none: logs by the request logger, statistics as StatisticsGen's."""

import re

import grpc
import ml_metadata as mlmd
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from ml_metadata.proto import metadata_store_pb2
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_serving.apis import predict_pb2

from serving import skew
from serving.calls import Call
from serving.query_inputs import InputSpec
from serving.query_inputs import encode_features
from serving.request_log import LogTarget
from serving.request_log import RequestLogger
from serving.served_rows import ServedRows
from serving.wire import DataType

VERSION = 20260102030405
SPECS = {
    "country": InputSpec(DataType.STRING, None),
    "user_num_clicks": InputSpec(DataType.FLOAT, None),
    "surface": InputSpec(DataType.STRING, None),
    "history_item_id": InputSpec(DataType.STRING, -1),
    "history_event": InputSpec(DataType.STRING, -1),
    "history_age_days": InputSpec(DataType.FLOAT, -1),
}
IS_STRING = {name: spec.dtype is DataType.STRING for name, spec in SPECS.items()}
ROLES = {"country": "query", "user_num_clicks": "query", "surface": "context"}
SCHEMA = "".join(
    f'feature {{ name: "{name}" type: {"BYTES" if IS_STRING[name] else "FLOAT"} '
    f'annotation {{ tag: "{ROLES.get(name, "history")}" }} }}\n'
    for name in SPECS
)
SCHEMA += 'feature { name: "task" type: BYTES annotation { tag: "label" } }\n'


def users(seed, number):
    """Users of one law: long-tailed clicks, a third without a history, 1,500 items, surface known of 90%."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(number):
        user = {"country": str(random.choice(["DE", "FR", "IT"], p=[0.6, 0.3, 0.1]))}
        user["user_num_clicks"] = float(np.floor(random.lognormal(2, 1)))
        if random.random() < 0.9:
            user["surface"] = "home"
        if length := int(random.integers(0, 6)) * int(random.random() < 0.8):
            user["history_item_id"] = [f"item-{random.integers(1500)}" for _ in range(length)]
            user["history_event"] = [str(event) for event in random.choice(["click", "purchase"], length)]
            user["history_age_days"] = [float(age) for age in random.exponential(20, length)]
        found.append(user)
    return found


def example_of(user, **labels):
    example = tf.train.Example()
    for name, value in {**user, **labels}.items():
        values = value if isinstance(value, list) else [value]
        feature = example.features.feature[name]
        if isinstance(values[0], str):
            feature.bytes_list.value.extend(text.encode() for text in values)
        else:
            feature.float_list.value.extend(values)
    return example.SerializeToString()


def named(batch):
    """A request of `retrieve` in the client's encoding."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "retriever", "retrieve"
    for name, proto in encode_features(batch, SPECS, ignore_unknown=True).items():
        request.inputs[name].ParseFromString(proto.SerializeToString())
    request.inputs["k"].CopyFrom(tf.make_tensor_proto([10] * len(batch)))
    return request


def serialized(batch):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "retriever"
    request.inputs["examples"].CopyFrom(tf.make_tensor_proto([example_of(user) for user in batch]))
    return request


def write_logs(prefix, requests, *, version=VERSION):
    """What a server with this request log leaves behind; returns the glob of its files."""
    logger = RequestLogger({"retriever": LogTarget(str(prefix), 1.0)}, max_bytes=50_000)
    for request in requests:
        signature = request.model_spec.signature_name or "serving_default"
        response = predict_pb2.PredictResponse()
        logger.observe(
            Call("GRPC", "Predict", "retriever", version, signature, grpc.StatusCode.OK, 0.01, request, response)
        )
    logger.close()
    assert logger.num_dropped == 0
    return f"{prefix}.log.*"


def batches(rows):
    return [rows[start : start + 8] for start in range(0, len(rows), 8)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """What a pipeline leaves behind of a run with two pushes of one version; the statistics are TFDV's of real examples."""
    import tensorflow_data_validation as tfdv

    folder = tmp_path_factory.mktemp("root")
    records = str(folder / "train.tfrecord")
    with tf.io.TFRecordWriter(records) as file:
        for user in users(1, 3000):
            file.write(example_of(user, task="conversion"))
    places = {
        "ExampleStatistics": folder / "artifacts/StatisticsGen/statistics/3",
        "Schema": folder / "artifacts/ImportSchemaGen/schema/1",
        "PushedModel": folder / "artifacts/VersionedPusher/pushed_model/9",
    }
    (places["ExampleStatistics"] / "Split-train").mkdir(parents=True)
    places["Schema"].mkdir(parents=True)
    statistics = tfdv.generate_statistics_from_tfrecord(records)
    (places["ExampleStatistics"] / "Split-train/FeatureStats.pb").write_bytes(statistics.SerializeToString())
    text_format.Parse(SCHEMA, schema_pb2.Schema())
    (places["Schema"] / "schema.pbtxt").write_text(SCHEMA)
    write_metadata(folder, {name: str(place) for name, place in places.items()})
    return folder


def write_metadata(folder, places, *, pushed=1):
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(folder / "metadata.sqlite")
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    store = mlmd.MetadataStore(config)
    run_type = store.put_context_type(metadata_store_pb2.ContextType(name="pipeline_run"))
    (run,) = store.put_contexts([metadata_store_pb2.Context(type_id=run_type, name="run 1")])
    for name, place in places.items():
        type_id = store.put_artifact_type(metadata_store_pb2.ArtifactType(name=name))
        artifact = metadata_store_pb2.Artifact(type_id=type_id, uri=place)
        if name == "PushedModel":
            artifact.custom_properties["pushed"].int_value = pushed
            artifact.custom_properties["pushed_version"].string_value = str(VERSION)
        (artifact_id,) = store.put_artifacts([artifact])
        link = metadata_store_pb2.Attribution(artifact_id=artifact_id, context_id=run)
        store.put_attributions_and_associations([link], [])


@pytest.fixture
def check(root, capsys, monkeypatch):
    """Runs the command; gives its status, the verdict by feature, and all that it printed."""

    monkeypatch.setenv("COLUMNS", "120")

    def run(logs, *flags, root=root):
        status = skew.main([f"--logs={logs}", f"--root={root}", *flags])
        out, err = capsys.readouterr()
        verdicts = {name: verdict for name, verdict in re.findall(r"^(\w+) .* (ok|SKEW: .*)$", out, re.MULTILINE)}
        return status, verdicts, out + err

    return run


def test_users_of_the_same_law_have_no_skew(check, tmp_path):
    rows = users(2, 1000)
    requests = [*map(named, batches(rows[:600])), *map(serialized, batches(rows[600:]))]
    status, verdicts, printed = check(write_logs(tmp_path / "r", requests))
    assert (status, verdicts) == (0, dict.fromkeys(SPECS, "ok")), printed
    assert f"Version {VERSION}: 1,000 rows of 125 requests against 3,000 of train" in printed


PLANTED = {
    "country": (lambda user: {**user, "country": "IT" if user["country"] == "FR" else user["country"]}, "values"),
    "user_num_clicks": (lambda user: {**user, "user_num_clicks": user["user_num_clicks"] * 60}, "values"),
    "surface": (lambda user: {**user, "surface": None}, "missing"),
    "history_item_id": (
        lambda user: {**user, "history_item_id": [f"SKU-{item}" for item in user.get("history_item_id", [])]},
        "unknown",
    ),
}


@pytest.mark.parametrize("feature", PLANTED)
def test_planted_skew_is_found_and_only_there(check, tmp_path, feature):
    plant, kind = PLANTED[feature]
    requests = map(named, batches([plant(user) for user in users(3, 800)]))
    status, verdicts, printed = check(write_logs(tmp_path / "r", requests))
    assert status == 1
    assert {name for name, verdict in verdicts.items() if verdict != "ok"} == {feature}, printed
    assert kind in verdicts[feature].removeprefix("SKEW: ").split(", ")
    if kind == "values":
        assert re.search(rf"^{feature}: The .* distance|^{feature}: The .* divergence", printed, re.MULTILINE)


def test_named_tensors_and_examples_are_the_same_rows(tmp_path):
    rows = users(4, 40)
    logs = [write_logs(tmp_path / kind.__name__, [kind(rows)]) for kind in (named, serialized)]
    paths = [[str(path) for path in tmp_path.glob(pattern.rsplit("/", 1)[1])] for pattern in logs]
    from_tensors, from_examples = (
        [{name: values for name, values in row.items() if values} for row in ServedRows(p, IS_STRING, version=VERSION)]
        for p in paths
    )
    assert from_tensors == from_examples
    assert len(from_tensors) == 40
    assert any("surface" not in row for row in from_tensors)


def test_padding_is_no_value_and_a_history_stays_aligned(tmp_path):
    history = {
        "history_item_id": ["a", None, "b\0"],
        "history_event": ["click", "click", None],
        "history_age_days": [None, 2.0, 3.0],
    }
    write_logs(tmp_path / "r", [named([history, {"country": "DE", "user_num_clicks": 0.0}])])
    first, second = ServedRows([str(path) for path in tmp_path.iterdir()], IS_STRING, version=VERSION)
    empty = {"country": [], "user_num_clicks": [], "surface": []}
    assert first == {
        **empty,
        "history_item_id": [b"a", b"b\0"],
        "history_event": [b"click", b""],  # as the retriever reads it: the item has no event
        "history_age_days": [0.0, 3.0],  # and a missing age is 0
    }
    nothing = {"surface": [], "history_item_id": [], "history_event": [], "history_age_days": []}
    assert second == {**nothing, "country": [b"DE"], "user_num_clicks": [0.0]}


def test_other_requests_are_left_out_and_counted(check, tmp_path):
    embedding = named(users(5, 8))
    embedding.model_spec.signature_name = "embed_query"
    write_logs(tmp_path / "r1", [*map(named, batches(users(2, 400))), embedding])
    write_logs(tmp_path / "r2", map(named, batches(users(6, 16))), version=7)
    status, _, printed = check(tmp_path / "r?.log.*")
    assert status == 0
    assert "Left out: 2 requests answered by version 7\nLeft out: 1 requests of signature embed_query\n" in printed
    assert "400 rows of 50 requests" in printed


def test_the_schema_s_own_comparator_goes_before_the_flag(check, root, tmp_path):
    logs = write_logs(tmp_path / "r", map(named, batches(users(2, 400))))
    own = SCHEMA.replace('"query" } }', '"query" } skew_comparator { infinity_norm { threshold: 1e-9 } } }', 1)
    schema = root / "artifacts/ImportSchemaGen/schema/1/schema.pbtxt"
    schema.write_text(own)
    status, verdicts, _ = check(logs, "--threshold=0.2")
    schema.write_text(SCHEMA)
    assert (status, {name for name in verdicts if verdicts[name] != "ok"}) == (1, {"country"})


def test_a_root_that_was_moved_is_found(check, root, tmp_path):
    logs = write_logs(tmp_path / "r", map(named, batches(users(2, 400))))
    moved = root.rename(tmp_path / "moved")
    status, _, printed = check(logs, root=moved)
    moved.rename(root)
    assert status == 0, printed


@pytest.mark.parametrize(
    ("version", "flags", "reason"),
    [
        (VERSION, ["--min_rows=17"], "16 rows asked of version 20260102030405 are too few, see --min_rows=17"),
        (7, [], "0 rows asked of version 20260102030405 are too few"),
        (VERSION, ["--version=8"], "has pushed version 8; they pushed 20260102030405"),
        (VERSION, ["--split=queries"], r"the run's statistics cannot be read: .*Split-queries"),
        (VERSION, ["--logs=/nowhere/*"], r"no file matches --logs=/nowhere/\*"),
        (VERSION, ["--root=/nowhere"], "no run in /nowhere: it has no metadata.sqlite"),
    ],
)
def test_what_cannot_be_checked_has_its_own_status_and_a_reason(check, tmp_path, version, flags, reason):
    logs = write_logs(tmp_path / "r", map(named, batches(users(6, 16))), version=version)
    status, verdicts, printed = check(logs, *flags)
    assert (status, verdicts) == (2, {})
    assert re.search(f"Not checked: .*{reason}", printed)


@pytest.mark.parametrize("spoil", [lambda data: data[:-5], lambda data: b"x" * 40], ids=["torn", "foreign"])
def test_a_broken_log_is_named(check, tmp_path, spoil):
    write_logs(tmp_path / "r", map(named, batches(users(6, 400))))
    victim = sorted(tmp_path.iterdir())[-1]
    victim.write_bytes(spoil(victim.read_bytes()))
    status, _, printed = check(tmp_path / "r.log.*")
    assert status == 2
    assert f"Not checked: {victim} is no file of PredictionLogs" in printed


@pytest.mark.parametrize(
    ("places", "pushed", "reason"),
    [
        ({"PushedModel": "x"}, 0, "has pushed a model"),
        ({"PushedModel": "x"}, 1, f"the run that pushed {VERSION} wrote no ExampleStatistics and no Schema"),
        ({"PushedModel": "x", "ExampleStatistics": "y", "Schema": "z"}, 1, "the run's schema cannot be read"),
    ],
)
def test_a_run_that_is_not_whole_is_no_measure(check, tmp_path, places, pushed, reason):
    write_metadata(tmp_path, places, pushed=pushed)
    logs = write_logs(tmp_path / "r", [named(users(6, 8))])
    status, _, printed = check(logs, root=tmp_path)
    assert status == 2
    assert re.search(f"Not checked: .*{reason}", printed)


def test_a_file_that_is_no_metadata_is_refused(check, tmp_path):
    (tmp_path / "metadata.sqlite").write_text("not a database, but long enough to be read as one" * 20)
    logs = write_logs(tmp_path / "r", [named(users(6, 8))])
    status, _, printed = check(logs, root=tmp_path)
    assert status == 2
    assert re.search(r"Not checked: .*metadata.sqlite (is not ML Metadata|cannot be read)", printed)


@pytest.mark.parametrize("flag", ["--threshold=0", "--threshold=nan", "--min_rows=0"])
def test_wrong_flags_end_with_the_usage(check, flag, capsys):
    with pytest.raises(SystemExit, match="2"):
        check("logs", flag)
    assert f"{flag.split('=')[0]} must be" in capsys.readouterr().err
