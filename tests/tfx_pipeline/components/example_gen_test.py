import apache_beam as beam
import pytest
import tensorflow as tf

from tfx_pipeline.components.example_gen import WriteRecords


@pytest.mark.parametrize("lists", [[], [[]], [[b"a", b""], [b"\n\0" * 5_000], [], [b"\xff", b"a"]]])
def test_tensorflow_reads_the_records_that_were_written(tmp_path, lists):
    with beam.Pipeline() as pipeline:
        _ = pipeline | beam.Create(lists, reshuffle=False) | WriteRecords(str(tmp_path / "data_tfrecord"))
    files = [str(path) for path in tmp_path.iterdir()]
    assert files
    assert all(name.endswith(".gz") for name in files)
    found = tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator()
    assert sorted(found) == sorted(record for records in lists for record in records)
