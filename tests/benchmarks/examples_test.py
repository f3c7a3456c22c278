import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.examples import exponent
from schemas.features import SPLITS
from tfx_pipeline import dataset as datasets

MULTI_PROCESS = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
PORTABLE = ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK")


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """Raw tables of a synthetic market of 7,000 events."""
    folder = tmp_path_factory.mktemp("market")
    options = {"num_users": 60, "num_items": 200}
    return datasets.prepare_tables("marketplace_simulator", None, folder, options)


@pytest.fixture(scope="module")
def written(market, tmp_path_factory):
    """Runs a system in a process of its own; gives the rows of each split."""

    def written(system, *beam_args):
        out = tmp_path_factory.mktemp(system)
        command = [sys.executable, "-m", "benchmarks.examples_worker", f"--system={system}", f"--dataset={market}"]
        command += [f"--out={out}", *(f"--beam_arg={given}" for given in beam_args)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1])["cpu_s"] > 0
        files = {split: sorted(map(str, out.glob(f"{split}*.gz"))) for split in SPLITS}
        return {split: [row.numpy() for row in records(found)] for split, found in files.items()}

    return written


def records(files):
    return tf.data.TFRecordDataset(files, compression_type="GZIP")


@pytest.fixture(scope="module")
def in_process(written):
    return written("beam")


def values(serialized):
    """Names, kinds and values, whatever their order in the record; numbers as float32 holds them."""
    features = tf.train.Example.FromString(serialized).features.feature
    kinds = {name: (kind, getattr(of, kind).value) for name, of in features.items() if (kind := of.WhichOneof("kind"))}
    return tuple(sorted((name, kind, tuple(found)) for name, (kind, found) in kinds.items() if found))


@pytest.mark.e2e  # starts processes that import TensorFlow
@pytest.mark.parametrize("split", SPLITS)
def test_beam_makes_the_rows_of_a_script_that_was_written_from_the_definition(split, in_process, pandas_rows):
    ours, theirs = (Counter(map(values, rows[split])) for rows in (in_process, pandas_rows))
    assert len(ours) > 25
    assert ours == theirs


@pytest.fixture(scope="module")
def pandas_rows(written):
    return written("pandas")


@pytest.mark.e2e
@pytest.mark.parametrize("runner", [MULTI_PROCESS, PORTABLE], ids=["processes", "portable"])
def test_other_runners_write_what_one_process_does(runner, in_process, written):
    found = written("beam", *runner)
    for split in SPLITS:
        assert sorted(found[split]) == sorted(in_process[split])


def test_the_exponent_is_the_slope_of_the_logarithms():
    results = [{"events": events, "cpu_s": 3e-5 * events**1.2} for events in (1e4, 1e5, 1e6)]
    np.testing.assert_allclose(exponent(results), 1.2)
