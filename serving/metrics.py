"""Counts and times requests, and writes them in Prometheus' text form under TF Serving's names."""

import bisect
import threading
from collections import Counter
from collections.abc import Iterator

import grpc

from serving.calls import Call

_COUNT = ":tensorflow:serving:request_count"
_LATENCY = ":tensorflow:serving:request_latency"
_COUNTED = frozenset({"Predict", "Classify", "Regress", "MultiInference"})
_LIMITS_US = tuple(10 * 1.8**power for power in range(33))
"""Upper ends of the latency's buckets: 10 microseconds to about 25 minutes."""
# Whoever asks for models that do not exist must not fill the memory with their names.
_MAX_NAMES = 1000
_MAX_NAME_LENGTH = 200
_OTHER_NAMES = "other"


class Metrics:
    """A `CallObserver` whose page Prometheus reads.

    The page is written here: prometheus_client would name the counter `request_count_total`, and dashboards made for
    TF Serving would not find it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: set[str] = set()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._latencies: dict[tuple[str, str, str], _Histogram] = {}

    def observe(self, call: Call) -> None:
        """Counts a call, and times it if it was answered; GetModelMetadata is not counted, as in TF Serving."""
        if call.method not in _COUNTED:
            return
        with self._lock:
            name = self._label(call)
            self._counts[name, call.code.name] += 1
            if call.code is grpc.StatusCode.OK:
                key = (name, call.method, call.api)
                self._latencies.setdefault(key, _Histogram()).add(call.latency_s * 1e6)

    def page(self) -> str:
        """All series."""
        with self._lock:
            return "".join(f"{line}\n" for line in self._lines())

    def _label(self, call: Call) -> str:
        name = call.model_name
        is_new = call.version is None and name not in self._names
        if is_new and (len(self._names) >= _MAX_NAMES or len(name) > _MAX_NAME_LENGTH):
            return _OTHER_NAMES
        self._names.add(name)
        return name

    def _lines(self) -> Iterator[str]:
        yield f"# TYPE {_COUNT} counter"
        for (name, status), count in sorted(self._counts.items()):
            yield f'{_COUNT}{{model_name="{_escaped(name)}",status="{status}"}} {count}'
        yield f"# TYPE {_LATENCY} histogram"
        for (name, method, api), histogram in sorted(self._latencies.items()):
            labels = f'model_name="{_escaped(name)}",API="{method}",entrypoint="{api}"'
            for limit, count in histogram.cumulative():
                yield f'{_LATENCY}_bucket{{{labels},le="{limit}"}} {count}'
            yield f"{_LATENCY}_sum{{{labels}}} {histogram.sum_us}"
            yield f"{_LATENCY}_count{{{labels}}} {sum(histogram.counts)}"


class _Histogram:
    def __init__(self) -> None:
        self.counts = [0] * (len(_LIMITS_US) + 1)
        self.sum_us = 0.0

    def add(self, value_us: float) -> None:
        self.counts[bisect.bisect_left(_LIMITS_US, value_us)] += 1
        self.sum_us += value_us

    def cumulative(self) -> Iterator[tuple[str, int]]:
        """The upper end of each bucket and how many values are not above it."""
        total = 0
        for limit, count in zip([*(f"{limit:g}" for limit in _LIMITS_US), "+Inf"], self.counts, strict=True):
            total += count
            yield limit, total


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
