"""Variants of the model that the ablation compares: what each changes of the source's defaults, and what it needs of the data."""

from typing import Any
from typing import NamedTuple

ENGAGEMENTS = "engagements"
IMPRESSIONS = "impressions"
ADVERTISERS = "advertisers"
DEFAULT = "default"


class Variant(NamedTuple):
    """One row of the table.

    Attributes:
        changes: fields of TrainerConfig.
        needs: what the data must have, or the variant is the default.
    """

    changes: dict[str, Any]
    needs: str = ""


VARIANTS = {
    DEFAULT: Variant({}),
    "sequential": Variant({"architecture": "sequential"}),
    "cross": Variant({"architecture": "cross"}),
    "dense": Variant({"architecture": "dense"}),
    "transformer": Variant({"history_encoder": "transformer"}),
    "multi": Variant({"heads": "multi"}, ENGAGEMENTS),
    "conversion_only": Variant({"engagement_weight": 0.0}, ENGAGEMENTS),
    "engagement_only": Variant({"conversion_weight": 0.0}, ENGAGEMENTS),
    "clicks_unweighted": Variant({"duration_weighting": "none"}, ENGAGEMENTS),
    "clicks_log": Variant({"duration_weighting": "log"}, ENGAGEMENTS),
    "in_batch": Variant({"uniform_negatives": 0}),
    "in_batch+impressions": Variant({"uniform_negatives": 0, "impression_negatives": 1024}, IMPRESSIONS),
    "in_batch+uniform+impressions": Variant({"impression_negatives": 1024}, IMPRESSIONS),
    "no_logq": Variant({"logq": "none"}),
    "corrected_logq": Variant({"logq": "corrected"}),
    "advertiser_pooled": Variant({"advertiser_loss": "pooled"}, ADVERTISERS),
    "advertiser_table": Variant({"advertiser_loss": "table"}, ADVERTISERS),
    "advertiser_soft": Variant({"advertiser_loss": "soft"}, ADVERTISERS),
    "no_same_advertiser_negatives": Variant({"same_advertiser_negatives": False}, ADVERTISERS),
    "hidden_positives": Variant({"hidden_positives": "on"}, ENGAGEMENTS),
    "no_hidden_positives": Variant({"reconstruction_weight": 0.0}),
    "no_history_dropout": Variant({"history_dropout": 0.0}),
    "no_neighbors": Variant({"num_neighbors": 0}),
    "no_trend": Variant({"trend_half_life_days": 0.0}),
    "cosine_schedule": Variant({"learning_rate_schedule": "cosine", "warmup_steps": 50}),
}
"""`default`: parallel Cross and dense layers, one head, pooled history, even draws beside the batch, logQ, no advertiser loss."""
