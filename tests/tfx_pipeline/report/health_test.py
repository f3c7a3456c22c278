from tfx_pipeline.report import health as health_module
from tfx_pipeline.report.health import health


def test_a_day_without_conversions_is_a_zero_and_the_cut_is_marked(metrics, monkeypatch):
    drawn = []
    monkeypatch.setattr(health_module, "line_plot", lambda lines, **options: drawn.append((lines, options)))
    health(metrics)
    (((line,), options),) = drawn
    assert (line.x, line.y) == ([0, 1, 2, 3], [8, 0, 0, 4])  # 1 and 4 January
    assert options["moments"] == {1.0: "eval"}  # the cut is on the 2nd
    assert options["x_names"][3] == "2020-01-04"


def test_without_data_health_the_dead_letters_are_those_of_the_examples(metrics):
    metrics.pop("health")
    metrics["data"]["set_aside"] = {"no visitor": 3, "no time": 0}
    found = health(metrics)
    assert found.dead_letters == {"source: no visitor": 3, "events.no_item": 17}
    assert (found.found, found.plot) == ({}, None)


def test_the_distance_furthest_over_its_bound_comes_first():
    values = {"a": (0.2, 0.1), "b": (0.3, 0.5), "c": (0.4, 0.1), "d": (None, 0.1)}
    skew = [{"feature": name, "value": value, "bound": bound} for name, (value, bound) in values.items()]
    assert [row["feature"] for row in health({"health": {"skew": skew}}).found["skew"]] == ["c", "a", "b", "d"]
