from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from schemas.load import load_schema
from tfx_pipeline.health.comparators import comparators

OWN = """
feature { name: "colour" type: BYTES annotation { tag: "query" }
  skew_comparator { infinity_norm { threshold: 0.3 } } }
feature { name: "size" type: FLOAT annotation { tag: "item" } }
feature { name: "user_id" type: BYTES annotation { tag: "key" } }
"""


def bounds(schema, kind, **options):
    found = comparators(schema, kind, max_distance=0.1, max_divergence=0.2, **options).default_slice_config.feature
    return {entry.path.step[0]: entry.distribution_comparator for entry in found}


def test_the_schemas_comparator_beats_the_configured_bound():
    schema = text_format.Parse(OWN, schema_pb2.Schema())
    skew, drift = bounds(schema, "skew"), bounds(schema, "drift")
    assert set(skew) == set(drift) == {"colour", "size"}
    assert (skew["colour"].infinity_norm.threshold, drift["colour"].infinity_norm.threshold) == (0.3, 0.1)
    assert skew["size"].jensen_shannon_divergence.threshold == 0.2
    assert skew["size"].jensen_shannon_divergence.source.type == schema_pb2.HistogramSelection.QUANTILES


def test_what_grows_with_time_or_is_an_id_of_its_own_is_not_compared():
    drift = bounds(load_schema(), "drift")
    assert {"surface", "task", "value", "price", "item_id", "history_item_id", "user_num_purchases"} <= set(drift)
    assert not {"user_id", "timestamp_us", "positive_rate", "impression_rate", "target_item_ids"} & set(drift)
    assert "item_conversion_index" not in drift


def test_between_splits_what_users_have_done_so_far_may_grow_more():
    skew = bounds(load_schema(), "skew")
    assert skew["user_num_purchases"].jensen_shannon_divergence.threshold > 0.2
    assert skew["price"].jensen_shannon_divergence.threshold == 0.2


def test_histories_of_another_length_are_not_compared():
    whole, part = (bounds(load_schema(), "skew", left_out_roles=roles) for roles in ((), ("history",)))
    assert set(whole) - set(part) == {"history_item_id", "history_event", "history_age_days"}
