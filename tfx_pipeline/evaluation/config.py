"""Options of the evaluation and of the gates."""

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured and what a model must reach to be pushed.

    Attributes:
        max_rows: conversions of the `eval` split, users of the `queries` split and a quarter as many engagements, at most; a seeded
            sample of more.
        min_recall: recall@100 on `eval` must be at least so much, in [0, 1].
        min_lift: recall@100 on `eval` must be above so many times popularity's; recall@10 where popularity finds all at 100;
            where both find all, there is nothing to refuse.
        min_lift_new: the same for new-to-the-user conversions, ranked among what the user had not. Where logs are small there may
            be nothing to learn about discovery beyond popularity, and chance decides: the bound leaves it room.
        min_new_rows: the gate on new-to-the-user conversions needs so many rows.
        min_index_recall: share of the exact top 100 that the served index must find, in [0, 1].
        max_regression: a model is refused when its recall@100 on all or on new conversions is, with 95% confidence, more than
            this share below that of the last blessed model on the same rows, >= 0. Two trainings of the same model differ by some.
        max_slice_regression: the same on each slice of `gate_slices`.
        gate_slices: names of slices on which a regression refuses; none: an empty text.
        slice_features: features of the examples to slice by, beside the usual slices; numbers by thirds.
        min_slice_rows: conversions that a slice needs to be measured.
        bootstrap_samples: resamples of the users for intervals.
        seed: of the samples.
    """

    max_rows: int = 20_000
    min_recall: float = 0.0
    min_lift: float = 1.0
    min_lift_new: float = 0.95
    min_new_rows: int = 100
    min_index_recall: float = 0.9
    max_regression: float = 0.02
    max_slice_regression: float = 0.05
    gate_slices: tuple[str, ...] = ("surface", "history_length", "advertiser_size", "cold_item")
    slice_features: tuple[str, ...] = ()
    min_slice_rows: int = 100
    bootstrap_samples: int = 500
    seed: int = 1

    def __post_init__(self) -> None:
        """Rejects values that no run could use."""
        for name in ("gate_slices", "slice_features"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("max_rows", "min_slice_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"evaluation.{name} must be >= 1. Received: {getattr(self, name)}")
        if self.bootstrap_samples < 100:
            raise ValueError(f"evaluation.bootstrap_samples must be >= 100. Received: {self.bootstrap_samples}")
        for name in ("min_recall", "min_index_recall", "max_regression", "max_slice_regression"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"evaluation.{name} must be in [0, 1]. Received: {getattr(self, name)}")

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)
