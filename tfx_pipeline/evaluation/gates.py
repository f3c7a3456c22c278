"""The gates: what a model must reach to be pushed, and what a refusal says."""

from typing import Any
from typing import NamedTuple

from scipy.stats import norm

from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.outcomes import HEADLINE
from tfx_pipeline.evaluation.slices import BASELINE
from tfx_pipeline.evaluation.slices import CONVERSION
from tfx_pipeline.evaluation.slices import OVERALL

_CONFIDENCE = 0.95
_GATED = (
    "recall@100",
    "recall@10",
)  # the second where popularity finds everything at 100, as in a catalogue of 100 items


class Gate(NamedTuple):
    """One check.

    Attributes:
        gate: the option that bounds it.
        slice: `overall`, `new` or `surface=mailer`.
        metric: what was measured.
        value: of the model.
        bound: that the value must reach.
        is_passed: whether it does.
        message: what was measured and what it must reach; of a refusal also what to do.
    """

    gate: str
    slice: str
    metric: str
    value: float
    bound: float
    is_passed: bool
    message: str


def gates(metrics: dict[str, Any], config: EvaluationConfig) -> list[Gate]:
    """All that apply, the gravest first."""
    return [
        *_enough(metrics, config),
        *_lifts(metrics, config),
        *_regressions(metrics.get("slices", []), config),
        _index(metrics, config),
    ]


def refusals(metrics: dict[str, Any], config: EvaluationConfig) -> list[str]:
    """Why the model may not be pushed; empty when it may."""
    return [gate.message for gate in gates(metrics, config) if not gate.is_passed]


def _enough(metrics: dict[str, Any], config: EvaluationConfig) -> list[Gate]:
    rows = metrics["eval"]["all"]["num_rows"]
    if not rows:
        message = "eval.all: no conversion in the evaluation period. Move examples.cut or examples.eval_days"
        return [Gate("rows", OVERALL, "num_rows", 0, 1, is_passed=False, message=message)]
    if not config.min_recall:
        return []
    value = metrics["eval"]["all"]["model"][HEADLINE]
    is_passed = value >= config.min_recall
    message = _said(
        f"eval.all: {HEADLINE} is {value:.4f}, it must be at least {config.min_recall} (evaluation.min_recall)",
        "Look at the training curves, or lower the bound",
        is_passed=is_passed,
    )
    return [Gate("evaluation.min_recall", OVERALL, HEADLINE, value, config.min_recall, is_passed, message)]


def _lifts(metrics: dict[str, Any], config: EvaluationConfig) -> list[Gate]:
    found = []
    for kind, values in metrics["eval"].items():
        if values["num_rows"] < (config.min_new_rows if kind == "new" else 1):
            continue
        recall = next((name for name in _GATED if values["popularity"][name] < 1), _GATED[-1])
        model, popularity = (values[name][recall] for name in ("model", "popularity"))
        name, lift = ("min_lift_new", config.min_lift_new) if kind == "new" else ("min_lift", config.min_lift)
        is_passed = model > lift * popularity or model == popularity == 1
        message = _said(
            f"eval.{kind}: {recall} is {model:.4f}, it must be above {lift} x popularity's {popularity:.4f} (evaluation.{name})",
            "Look at the training loss and at the answers of `serving.query`",
            is_passed=is_passed,
        )
        where = OVERALL if kind == "all" else kind
        found.append(Gate(f"evaluation.{name}", where, recall, model, lift * popularity, is_passed, message))
    return found


def _index(metrics: dict[str, Any], config: EvaluationConfig) -> Gate:
    ((metric, value),) = ((key, value) for key, value in metrics["index"].items() if key.startswith("recall"))
    bound = config.min_index_recall
    message = _said(
        f"index: finds {value:.4f} of the exact answers, it must find {bound} (evaluation.min_index_recall)",
        "Use index.kind=exact or a lower limit",
        is_passed=value >= bound,
    )
    return Gate("evaluation.min_index_recall", OVERALL, metric, value, bound, is_passed=value >= bound, message=message)


def _said(facts: str, remedy: str, *, is_passed: bool) -> str:
    return facts if is_passed else f"{facts}. {remedy}"


def _regressions(records: list[dict[str, Any]], config: EvaluationConfig) -> list[Gate]:
    """No worse than the last blessed model, by the interval of the change and not by its point.

    A regression refuses when even the upper end of the change's interval is beyond what is allowed: 95% overall; on n slices
    `1 - 0.05 / n` each, for among many slices one falls by chance (Bonferroni).
    """
    compared = [r for r in records if r["task"] == CONVERSION and r["metric"] == HEADLINE and r["change"]]
    overall = [r for r in compared if r["slice"] == OVERALL]
    sliced = [r for r in compared if r["slice"] in config.gate_slices and r["novelty"] == "all"]
    return [
        *(_regression(r, "max_regression", config.max_regression, 1) for r in overall),
        *(_regression(r, "max_slice_regression", config.max_slice_regression, len(sliced)) for r in sliced),
    ]


def _regression(record: dict[str, Any], name: str, allowed: float, num_compared: int) -> Gate:
    value, before = record["model"]["value"], record[BASELINE]["value"]
    error = record["change"]["standard_error"] * norm.ppf(1 - (1 - _CONFIDENCE) / 2 / num_compared)
    bound = (1 - allowed) * before
    where = f"{record['slice']}={record['value']}" if record["value"] else OVERALL
    where = where if record["novelty"] == "all" else record["novelty"]
    is_passed = bool(value + error >= bound)
    message = _said(
        f"eval, {where} ({record['num_rows']} rows of {record['num_users']} users): {HEADLINE} is {value:.4f}, the last blessed "
        f"model's {before:.4f}; the change, {value - before:+.4f} +- {error:.4f}, must not lie below {-allowed * before:+.4f} "
        f"(evaluation.{name}={allowed})",
        "Look at this slice in the report and at what changed in its data",
        is_passed=is_passed,
    )
    return Gate(f"evaluation.{name}", where, HEADLINE, value, bound, is_passed=is_passed, message=message)
