"""Options of the model and of its training."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from schemas import tables

ARCHITECTURES = ("parallel", "sequential", "cross", "dense")
_CHOICES = {
    "architecture": ARCHITECTURES,
    "heads": ("unified", "multi"),
    "history_encoder": ("pooled", "transformer"),
    "logq": ("none", "standard", "corrected"),
    "duration_weighting": ("relative", "log", "none"),
    "advertiser_loss": ("none", "pooled", "table", "soft"),
    "learning_rate_schedule": ("constant", "cosine"),
    "hidden_positives": ("auto", "on", "off"),
}


@dataclass(frozen=True)
class TrainerConfig:
    """How the towers are built and trained.

    Attributes:
        architecture: Cross layers and dense stack in `parallel`, `sequential` (Cross then dense), `cross` or `dense` only.
        heads: `unified`, trained by conversions and engagements alike, or `multi`: one for each, on the same layers, of which
            that of conversions is served.
        output_dim: length of query and item vectors, without the popularity coordinate.
        item_dim: width of the item table, which history, subject and item tower share.
        feature_dim: width of every other table.
        num_cross_layers: DCN-v2 Cross layers per tower.
        cross_projection_dim: rank of a Cross layer's kernel; 0: full.
        dense_units: widths of the dense stack.
        use_performance: whether item performance features enter the item tower.
        title_tokens: words of an item's text that are read where the item comes by its id alone, at most.
        max_history: latest actions of a history that towers read; bonuses are calibrated on as many, and read all of it when
            served. A step's cost grows with them, and calibrated on long ones the bonuses were worth less (measured on The Complete
            Journey).
        history_encoder: `pooled`, a weighted sum, or `transformer`, which comes beside the sum.
        transformer_layers: of the history's Transformer, over its `max_history` latest actions.
        transformer_heads: of attention.
        history_content: whether the content of the items in a history enters the query tower, beside their ids.
        dropout: of what the towers' heads read, in [0, 1).
        history_dropout: share of a history that training hides, at random for each row, in [0, 1).
        hidden_positives: whether each row has a second positive, one of the hidden actions of its history: `on`, `off`, or `auto`:
            in a log of conversions alone. Where logs are small, several targets per history keep the towers from learning it by
            heart; with engagements the latest actions say most, and they cost more than they teach (measured on the simulator,
            `benchmarks/RESULTS.md`).
        reconstruction_weight: of these positives, >= 0.
        item_dropout: share of item ids that training hides from the item tower, so that content learns to stand alone, in [0, 1).
        uniform_negatives: items of the catalogue, drawn evenly for each step, that are negatives of every row beside the batch's.
        impression_negatives: unengaged impressions, drawn for each step, that are negatives of every row; none where the log has no
            impressions.
        same_advertiser_negatives: whether items of the positive's advertiser are negatives of the row.
        num_neighbors: of each item, or group of items, and kind of association that the neighbour bonus knows; 8 bytes each; 0: no
            such bonus.
        neighbor_ridge: what an item's users must outweigh before it predicts another, users.
        trend_half_life_days: popularity is a mean of the whole log's and of one in which a row's weight halves in so many days;
            0: the whole log's alone.
        temperature: of the softmax over inner products.
        logq: `standard`: logits are corrected by the log of the expected count; `corrected`: but for the positive, which is
            always there (see `trainer.losses`); `none`.
        advertiser_loss: a softmax over the advertisers of the batch, beside that over items (see `trainer.advertisers`); none
            where the catalogue names no advertiser.
        advertiser_loss_weight: of it, >= 0.
        advertiser_temperature: of its softmax.
        conversion_weight: weight of a conversion row.
        add_to_cart_weight: of a conversion that is an add-to-cart, times `conversion_weight`.
        value_weight: a conversion weighs `1 + value_weight * log(1 + value)`, in the log's currency.
        engagement_weight: weight of an engagement row, at full click duration.
        duration_weighting: by which a click weighs (see `trainer.losses.duration_weight`); `none`: all alike.
        user_balance: a row of a user with n train rows weighs `n ** -user_balance`: 0 counts rows alike, 1 users.
        t_max_s: click duration of full weight, seconds; an unknown duration has the weight of half of it.
        batch_size: rows per step.
        epochs: passes over train, at most.
        validation_share: share of the train rows, the latest, that are held out to choose the weights, in [0, 1); 0: the last
            weights are taken.
        validations_per_epoch: how often the weights are measured.
        patience: training stops after so many measures without a better one.
        max_validation_rows: conversions that are measured, at most.
        recall_cutoffs: results that recall is measured at to choose the weights and the scale of the inner product: as many as are
            retrieved (see `trainer.validation`).
        max_steps: trains so many steps instead of `epochs`, when positive.
        warm_start: begins with the weights of the last blessed model, if the root has one (see `trainer.warm_start`).
        learning_rate: of dense layers (Adam).
        table_learning_rate: of embedding tables (Adagrad).
        learning_rate_schedule: `constant`, or `cosine`: both rates fall to 0 at the last step.
        warmup_steps: in which both rates rise from 0.
        clip_norm: gradients' global norm, at most.
        mixed_precision: whether the towers' Cross and dense layers compute in bfloat16 in a step, for devices that are made for it;
            weights, tables, the history's Transformer, loss and what is served stay float32.
        jit_compile: whether XLA compiles the towers' layers and the loss of a step, whose shapes do not change; the rest has ragged
            histories, for which it would compile again and again.
        checkpoint_every_s: seconds between saves of the whole training, from which one that was killed goes on.
        seed: of initial weights, shuffling and dropout.
    """

    architecture: str = "parallel"
    heads: str = "unified"
    output_dim: int = 64
    item_dim: int = 64
    feature_dim: int = 16
    num_cross_layers: int = 2
    cross_projection_dim: int = 0
    dense_units: tuple[int, ...] = (256, 128, 64)
    use_performance: bool = False
    title_tokens: int = 8
    max_history: int = 150
    history_encoder: str = "pooled"
    transformer_layers: int = 1
    transformer_heads: int = 4
    history_content: bool = True
    dropout: float = 0.0
    history_dropout: float = 0.5
    hidden_positives: str = "auto"
    reconstruction_weight: float = 1.0
    item_dropout: float = 0.1
    uniform_negatives: int = 1024
    impression_negatives: int = 0
    same_advertiser_negatives: bool = True
    num_neighbors: int = 100
    neighbor_ridge: float = 100.0
    trend_half_life_days: float = 14.0
    temperature: float = 1.0
    logq: str = "standard"
    advertiser_loss: str = "none"
    advertiser_loss_weight: float = 0.1
    advertiser_temperature: float = 1.0
    conversion_weight: float = 1.0
    add_to_cart_weight: float = 1.0
    value_weight: float = 0.0
    engagement_weight: float = 0.3
    duration_weighting: str = "relative"
    user_balance: float = 0.5
    t_max_s: float = 120.0
    batch_size: int = 1024
    epochs: int = 4
    validation_share: float = 0.05
    validations_per_epoch: int = 4
    patience: int = 6
    max_validation_rows: int = 2_000
    recall_cutoffs: tuple[int, ...] = (50, 100, 200)
    max_steps: int = 0
    warm_start: bool = False
    learning_rate: float = 0.001
    table_learning_rate: float = 0.05
    learning_rate_schedule: str = "constant"
    warmup_steps: int = 0
    clip_norm: float = 10.0
    mixed_precision: bool = False
    jit_compile: bool = False
    checkpoint_every_s: float = 120.0
    seed: int = 1

    def __post_init__(self) -> None:
        """Rejects values that no run could use."""
        self._check_lists()
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"trainer.{name} must be one of {choices}. Received: {getattr(self, name)!r}")
        for name in (
            "output_dim",
            "item_dim",
            "feature_dim",
            "title_tokens",
            "max_history",
            "transformer_layers",
            "transformer_heads",
            "batch_size",
            "epochs",
            "validations_per_epoch",
            "patience",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"trainer.{name} must be >= 1. Received: {getattr(self, name)}")
        for name in (
            "neighbor_ridge",
            "temperature",
            "advertiser_temperature",
            "t_max_s",
            "learning_rate",
            "table_learning_rate",
            "clip_norm",
        ):
            if not getattr(self, name) > 0:  # a NaN neither
                raise ValueError(f"trainer.{name} must be positive. Received: {getattr(self, name)}")
        for name in ("dropout", "history_dropout", "item_dropout", "validation_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"trainer.{name} must be in [0, 1). Received: {getattr(self, name)}")
        for name in (
            "uniform_negatives",
            "impression_negatives",
            "num_neighbors",
            "trend_half_life_days",
            "reconstruction_weight",
            "user_balance",
            "advertiser_loss_weight",
            "add_to_cart_weight",
            "value_weight",
            "warmup_steps",
            "checkpoint_every_s",
        ):
            if not getattr(self, name) >= 0:
                raise ValueError(f"trainer.{name} must not be negative. Received: {getattr(self, name)}")
        if (
            self.conversion_weight < 0
            or self.engagement_weight < 0
            or not self.conversion_weight + self.engagement_weight
        ):
            raise ValueError(
                "trainer.conversion_weight and trainer.engagement_weight must not be negative, nor both 0. "
                f"Received: {self.conversion_weight}, {self.engagement_weight}"
            )

    def _check_lists(self) -> None:
        for name in ("dense_units", "recall_cutoffs"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.recall_cutoffs or min(self.recall_cutoffs) < 1:
            raise ValueError(f"trainer.recall_cutoffs must be one or more counts >= 1. Received: {self.recall_cutoffs}")

    def for_events(self, events: Iterable[str]) -> "TrainerConfig":
        """As it applies to a log whose histories have these events: with or without hidden positives."""
        has_engagements = not tables.ENGAGEMENTS.isdisjoint(events)
        if self.hidden_positives == "on" or (self.hidden_positives == "auto" and not has_engagements):
            return self
        return dataclasses.replace(self, hidden_positives="off", reconstruction_weight=0.0)

    @property
    def num_heads(self) -> int:
        """Vectors that a tower gives of a row."""
        return 2 if self.heads == "multi" else 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        lists = {"dense_units": list(self.dense_units), "recall_cutoffs": list(self.recall_cutoffs)}
        return {**dataclasses.asdict(self), **lists}
