"""What a check found: one record, which warns or blocks by configuration."""

from typing import NamedTuple

from tfx_pipeline.health.config import BLOCK

_MOST_TOLD = 3


class Finding(NamedTuple):
    """A bound that was crossed.

    Attributes:
        check: a name of `config.CHECKS`, which is also the option that says what follows.
        subject: feature and split, advertiser, or table.
        value: what was measured.
        bound: what it crossed.
        message: one line: subject, value, bound, where to look and which option to change.
    """

    check: str
    subject: str
    value: float
    bound: float
    message: str


def block_message(findings: list[dict]) -> str:
    """Why a run was blocked.

    Args:
        findings: as in `health.json`: fields of a Finding, and its `mode`.
    """
    blocking = [found for found in findings if found["mode"] == BLOCK]
    told = "; ".join(f"{found['check']}: {found['message']}" for found in blocking[:_MOST_TOLD])
    more = f"; and {len(blocking) - _MOST_TOLD} more" if len(blocking) > _MOST_TOLD else ""
    checks = sorted({found["check"] for found in blocking})
    options = " ".join(f"--set=health.{check}=warn" for check in checks)
    return f"Data health blocks the run. {told}{more}. To go on all the same: {options}"
