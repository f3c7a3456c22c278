"""Options of the evaluation and of the gate."""

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured and what a model must reach to be pushed.

    Attributes:
        max_rows: conversions of the `eval` split, and users of the `queries` split, at most; a seeded sample of more.
        min_lift: recall@100 on `eval` must be above so many times popularity's; recall@10 where popularity finds all at 100;
            where both find all, there is nothing to refuse.
        min_lift_new: the same for new-to-the-user conversions, ranked among what the user had not. Where logs are small there may
            be nothing to learn about discovery beyond popularity, and chance decides: the bound leaves it room.
        min_new_rows: the gate on new-to-the-user conversions needs so many rows.
        min_index_recall: share of the exact top 100 that the served index must find, in [0, 1].
        seed: of the samples.
    """

    max_rows: int = 20_000
    min_lift: float = 1.0
    min_lift_new: float = 0.95
    min_new_rows: int = 100
    min_index_recall: float = 0.9
    seed: int = 1

    def __post_init__(self) -> None:
        """Rejects values that no run could use."""
        if self.max_rows < 1:
            raise ValueError(f"evaluation.max_rows must be >= 1. Received: {self.max_rows}")
        if not 0 <= self.min_index_recall <= 1:
            raise ValueError(f"evaluation.min_index_recall must be in [0, 1]. Received: {self.min_index_recall}")

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)
