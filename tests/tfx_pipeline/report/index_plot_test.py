import re

import numpy as np

from tfx_pipeline.report.index_plot import index_plot


def test_every_effort_is_a_point_and_the_chosen_one_is_ringed():
    trials = [{"latency_ms": latency, "recall": recall} for latency, recall in ((0.1, 0.5), (0.2, 0.9), (0.4, 1.0))]
    svg = index_plot({"k": 100, "target_recall": 0.8, "exact_latency_ms": 0.3, "trials": trials, "chosen": trials[1]})
    shape = r'<use xlink:href="#\w+" x="([\d.]+)" y="([\d.]+)" style="fill: [^;]+; stroke: {}'
    tried = np.array(re.findall(shape.format(r"var\(--blue\)"), svg), float)[:3]  # then that of the legend
    ringed = np.array(re.findall(shape.format(r"var\(--orange\)"), svg), float)[0]
    np.testing.assert_allclose(ringed, tried[1], atol=0.02)
    steps = np.diff(tried, axis=0)
    np.testing.assert_allclose(steps[1, 0] / steps[0, 0], 2.0, rtol=0.01)  # 0.2 ms after 0.1 ms
    np.testing.assert_allclose(steps[1, 1] / steps[0, 1], 0.25, rtol=0.02)  # 0.1 after 0.4, upwards
    assert [name for name in ("tried", "chosen", "target", "exact search") if f">{name}<" not in svg] == []
