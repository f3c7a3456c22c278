from tfx_pipeline.report.plots import Interval
from tfx_pipeline.report.records import overall


def test_slices_are_read_with_what_is_best_possible(planted_record):
    of_eval = {"all": {"model": {}, "best_possible": {"recall@100": 0.75}}}
    found = overall({"slices": [planted_record(model=0.5), planted_record("surface", "home")], "eval": of_eval})
    (record,) = found
    assert (record.model, record.best_possible) == (Interval(0.5, 0.49, 0.51), Interval(0.75))
    assert (record.num_rows, record.num_users) == (1234, 56)


def test_without_slices_eval_stands_in_without_intervals():
    of_eval = {
        "all": {"num_rows": 3, "model": {"recall@10": 0.5}, "popularity": {"recall@10": 0.25}},
        "new": {"num_rows": 0, "model": {"recall@10": None}, "popularity": {"recall@10": None}},
    }
    whole, new = overall({"eval": of_eval})
    assert (whole.novelty, whole.metric, whole.num_rows) == ("all", "recall@10", 3)
    assert (whole.model, whole.popularity, whole.baseline) == (Interval(0.5), Interval(0.25), None)
    assert (new.novelty, new.model, new.popularity) == ("new", None, None)


def test_a_run_without_an_evaluation_has_none():
    assert overall({}) == []
