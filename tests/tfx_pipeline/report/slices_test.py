from tfx_pipeline.report.slices import MAX_LISTED
from tfx_pipeline.report.slices import MAX_VALUES
from tfx_pipeline.report.slices import slices


def test_worse_and_better_are_whole_intervals_the_most_first(planted_record):
    changes = {"a": -0.02, "b": -0.004, "c": 0.0, "d": 0.0051, "e": -0.5, "f": 0.3}  # each +- 0.005
    found = slices({"slices": [planted_record("surface", name, change=change) for name, change in changes.items()]})
    assert [record.value for record in found.worse] == ["e", "a"]
    assert [record.value for record in found.better] == ["f", "d"]
    assert (found.num_compared, found.has_baseline) == (6, True)


def test_a_feature_with_many_values_shows_the_best_supported_in_their_own_order(planted_record):
    records = [planted_record("price", f"value {n}", num_rows=100 - n) for n in range(MAX_VALUES + 5)]
    found = slices({"slices": records[::-1]})
    (panel,) = found.panels["price"]
    assert (panel.num_shown, panel.num_values, len(panel.records)) == (MAX_VALUES, MAX_VALUES + 5, MAX_VALUES + 5)
    places = [panel.plot.find(f">value {n}<") for n in range(MAX_VALUES + 5)]
    shown = places[:MAX_VALUES]
    assert shown == sorted(shown, reverse=True)
    assert min(shown) > 0
    assert places[MAX_VALUES:] == [-1] * 5


def test_a_table_has_no_more_rows_than_a_page_bears(planted_record):
    found = slices({"slices": [planted_record("price", str(n), num_rows=n) for n in range(2 * MAX_LISTED)]})
    (panel,) = found.panels["price"]
    assert [record.value for record in panel.records] == [str(n) for n in range(MAX_LISTED, 2 * MAX_LISTED)]
    assert panel.num_values == 2 * MAX_LISTED


def test_all_stands_before_new_and_a_first_run_has_no_baseline(planted_record):
    none = {"baseline": None, "change": None}
    records = [planted_record("surface", "home", novelty=novelty) | none for novelty in ("new", "all")]
    found = slices({"slices": [*records, planted_record(), planted_record("surface", "home", metric="mrr")]})
    assert [panel.title for panel in found.panels["surface"]] == ["all conversions", "new to the user"]
    assert set(found.panels) == {"surface"}
    assert (found.worse, found.better, found.num_compared, found.has_baseline) == ([], [], 0, False)
    assert "var(--orange)" not in found.panels["surface"][0].plot


def test_a_slice_without_a_measured_model_is_left_out(planted_record):
    assert slices({"slices": [planted_record("surface", "home", model=0.0) | {"model": None}]}).panels == {}
