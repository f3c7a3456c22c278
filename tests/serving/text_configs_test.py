"""TF Serving's text files: what they say, and errors that name file, line and field."""

import pytest

from serving import batching_parameters
from serving import text_configs
from serving.batching_parameters import BatchingParameters

EXAMPLE = """
max_batch_size { value: 128 }
batch_timeout_micros { value: 1000 }  # as in TF Serving's guide
max_enqueued_batches { value: 1000000 }
num_batch_threads { value: 8 }
thread_pool_name { value: "batches" }
allowed_batch_sizes: 32
allowed_batch_sizes: [64, 128]
pad_variable_length_inputs: true
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "config.txt"
        path.write_text(text)
        return path

    return write


def test_batching_parameters_are_read(write):
    assert batching_parameters.read(write(EXAMPLE)) == BatchingParameters(
        max_batch_size=128,
        batch_timeout_micros=1000,
        max_enqueued_batches=1_000_000,
        num_batch_threads=8,
        allowed_batch_sizes=(32, 64, 128),
        pad_variable_length_inputs=True,
    )


def test_batching_parameters_have_tf_servings_defaults(write):
    defaults = BatchingParameters()
    assert (defaults.max_batch_size, defaults.batch_timeout_micros, defaults.max_enqueued_batches) == (1000, 0, 10)
    assert batching_parameters.read(None) == batching_parameters.read(write("")) == defaults


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\nmax_batchsize { value: 1 }", 'line 2, column 1 .* has no field named "max_batchsize"'),
        (
            "max_batch_size { value: many }",
            "line 1, column 25 .*'max_batch_size { value: many }': Couldn't parse integer",
        ),
        ("max_batch_size: 3", "line 1, column 17 .*max_batch_size"),
        ("num_batch_threads { value: 0 }", "num_batch_threads must be 1 or more. Received: 0"),
        ("allowed_batch_sizes: [8, 4]", r"allowed_batch_sizes must be positive and rise. Received: \[8, 4\]"),
        (
            "max_batch_size { value: 9 } allowed_batch_sizes: 8",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 8; expected 9",
        ),
        ("enable_large_batch_splitting { value: true }", "enable_large_batch_splitting is not offered"),
    ],
)
def test_error_names_file_line_and_field(write, text, reason):
    path = write(text)
    with pytest.raises(ValueError, match=f"^{path}(: |, ){reason}"):
        batching_parameters.read(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ('prometheus_config { enable: false path: "/x" }', None),
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
        ('prometheus_config: { enable: true, path: "/metrics" }', "/metrics"),
    ],
)
def test_monitoring_config_says_where_the_metrics_are(write, text, expected):
    assert text_configs.prometheus_path(write(text)) == expected


def test_path_of_metrics_starts_with_a_slash(write):
    path = write('prometheus_config { enable: true path: "metrics" }')
    with pytest.raises(
        ValueError, match=f"^{path}: prometheus_config.path must start with a slash. Received: 'metrics'"
    ):
        text_configs.prometheus_path(path)


def test_unreadable_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=f"^cannot read {tmp_path}/absent: "):
        text_configs.read(tmp_path / "absent", "SSLConfig")


def test_field_numbers_are_tf_servings():
    """Wire bytes by hand: field 1 of SSLConfig is the key, 4 client_verify; field 7 of BatchingParameters the padding."""
    ssl = text_configs.message_class("SSLConfig").FromString(b"\x0a\x01k\x12\x01c\x1a\x01a\x20\x01")
    assert (ssl.server_key, ssl.server_cert, ssl.custom_ca, ssl.client_verify) == ("k", "c", "a", True)
    batching = text_configs.message_class("BatchingParameters").FromString(b"\x0a\x02\x08\x20\x38\x01")
    assert (batching.max_batch_size.value, batching.pad_variable_length_inputs) == (32, True)
