"""The summary of a run on the console."""

from pathlib import Path
from typing import Any

from tfx_pipeline.report.files import report_page

_SHORT_S = 1.0


def summary(metrics: dict[str, Any], *, seconds: float, root: Path) -> str:
    """A table of recall and the facts that a person wants first."""
    data = metrics["data"]
    lines = [
        "",
        f"Pushed version {metrics['pushed_version']} to {root / 'serving'} in {seconds:.0f} s "
        f"({metrics['num_items']:,} items, index {metrics['index']['kind']})",
        f"Data: {data['source']} ({data['kind'] or 'brought by the user'})"
        + (f". {data['notice']}" if data["notice"] else ""),
        "",
        f"{'recall over the whole catalogue':<60}{'@10':>8}{'@100':>8}{'@1000':>8}",
    ]
    for title, section, number in (
        ("eval, each conversion", "eval", "num_rows"),
        ("queries, mean of users", "queries", "num_users"),
    ):
        for kind, values in metrics[section].items():
            whole = kind.removesuffix("_with_history")
            if whole != kind and values[number] == metrics[section][whole][number]:
                continue  # all users have one
            for scorer in ("model", "popularity", "best_possible"):
                if scorer in values:
                    name = f"{title}, {kind.replace('_', ' ')} ({values[number]:,}): {scorer.replace('_', ' ')}"
                    lines.append(f"{name:<60}"[:60] + "".join(map(_figure, values[scorer].values())))
    return "\n".join([*lines, "", _times(metrics["seconds"], seconds), f"Report: {report_page(root)}"])


def _times(of_components: dict[str, float], seconds: float) -> str:
    """The slowest first; tables, imports and the report are what is left."""
    slowest = sorted(of_components.items(), key=lambda item: -item[1])
    told = [f"{name} {took:.0f}" for name, took in slowest if took >= _SHORT_S]
    rest = seconds - sum(took for _, took in slowest if took >= _SHORT_S)
    return f"Time [s]: {', '.join([*told, f'all else {rest:.0f}'])}"


def _figure(value: float | None) -> str:
    return f"{'none':>8}" if value is None else f"{value:>8.3f}"
