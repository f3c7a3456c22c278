import pytest

from tfx_pipeline.components.refresh_evaluator import refresh_refusals
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.refresh_config import RefreshConfig


def metrics(**changes):
    """A good refresh."""
    recalls = {
        "model": {"recall@10": 0.3, "recall@100": 0.8, "recall@1000": 1.0},
        "popularity": {"recall@10": 0.2, "recall@100": 0.5, "recall@1000": 1.0},
    }
    return {
        "num_served": 400,
        "num_removed": 100,
        "num_conversions_gone": 7,
        "eval": {"all": {"num_rows": 900, **recalls}, "new": {"num_rows": 500, **recalls}},
        "index": {"kind": "scann", "num_queries": 512, "recall@100_of_exact": 0.97},
        **changes,
    }


def refusals(found, *, evaluation=None, **options):
    return refresh_refusals(found, evaluation or EvaluationConfig(), RefreshConfig(**options))


def test_a_good_refresh_is_blessed():
    assert refusals(metrics()) == []


@pytest.mark.parametrize(
    ("num_removed", "limit", "refused"), [(200, 0.5, False), (201, 0.5, True), (4, 0.0, True), (400, 1.0, False)]
)
def test_a_feed_that_is_half_empty_is_refused_with_its_numbers(num_removed, limit, refused):
    found = refusals(metrics(num_removed=num_removed), max_removed_share=limit)
    assert len(found) == refused
    if refused:
        for told in (
            f"{num_removed} of the 400 items",
            f"{num_removed / 400:.1%}",
            f"{limit:.1%}",
            "max_removed_share",
        ):
            assert told in found[0]


def test_a_lossy_index_and_a_model_below_popularity_are_refused():
    found = metrics(index={"kind": "scann", "num_queries": 512, "recall@100_of_exact": 0.85})
    found["eval"]["all"]["popularity"] = {"recall@10": 0.2, "recall@100": 0.81, "recall@1000": 1.0}
    reasons = refusals(found)
    assert [reason.split(":")[0] for reason in reasons] == ["eval.all", "index"]
    assert "recall@100 is 0.8000, it must be above 1.0 x popularity's 0.8100 (evaluation.min_lift)" in reasons[0]
    assert "finds 0.8500 of the exact answers, it must find 0.9 (evaluation.min_index_recall)" in reasons[1]


def test_where_all_that_was_bought_is_gone_nothing_can_be_measured():
    found = metrics(eval={"all": {"num_rows": 0}, "new": {"num_rows": 0}}, num_conversions_gone=1019)
    (reason,) = refusals(found)
    assert "the items of all 1019 conversions are gone" in reason
    assert "Train anew" in reason


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"new_item_popularity": -0.1}, "refresh.new_item_popularity must be >= 0. Received: -0.1"),
        ({"max_removed_share": 1.5}, r"refresh.max_removed_share must be in \[0, 1\]. Received: 1.5"),
    ],
)
def test_unusable_options_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        RefreshConfig(**options)
