import gc
import platform
import resource

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.worker import statecache

from tfx_pipeline import process


@pytest.fixture
def weighed(monkeypatch):
    """What Beam's cache of side inputs weighs."""
    found = []
    weigh = statecache.get_deep_size
    monkeypatch.setattr(statecache, "get_deep_size", lambda *objects: found.append(objects) or weigh(*objects))
    monkeypatch.setattr(
        worker_handlers, "STATE_CACHE_SIZE_MB", 100
    )  # Beam's own, which an earlier test may have changed
    yield found
    gc.unfreeze()


@pytest.mark.parametrize("is_lightened", [False, True])
def test_side_inputs_are_read_and_no_longer_weighed(weighed, is_lightened, tmp_path):
    if is_lightened:
        process.lighten_beam()
    with beam.Pipeline(options=beam.options.pipeline_options.PipelineOptions(["--direct_running_mode=in_memory"])) as p:
        side = beam.pvalue.AsList(p | "side" >> beam.Create([1, 2, 3]))
        rows = p | beam.Create(range(10)) | beam.Reshuffle()
        sums = rows | beam.Map(lambda row, values: f"{row + sum(values)}", side)
        _ = sums | beam.io.WriteToText(str(tmp_path / "sums"), num_shards=1)
    (file,) = tmp_path.iterdir()
    assert sorted(map(int, file.read_text().split())) == [row + 6 for row in range(10)]
    assert bool(weighed) != is_lightened


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps what is freed")
def test_freed_memory_goes_back_to_the_system():
    blocks = [bytearray(2_000) for _ in range(100_000)]
    del blocks[1::2], blocks[1::3]
    blocks = blocks[::1000]  # some stay in between
    before = _resident_bytes()
    process.release_memory()
    assert len(blocks) > 10
    assert _resident_bytes() < before - 100e6


def _resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
