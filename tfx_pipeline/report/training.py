"""The section of the training: losses per task, validations, and what else was measured on the way."""

from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

from markupsafe import Markup

from tfx_pipeline.report.figures import BLUE
from tfx_pipeline.report.figures import GREY
from tfx_pipeline.report.figures import MARKS
from tfx_pipeline.report.figures import ORANGE
from tfx_pipeline.report.figures import Mark
from tfx_pipeline.report.plots import Line
from tfx_pipeline.report.plots import line_plot

_TASK_LOSS = "loss_"
_NORM = "norm_"
_VALIDATION_LINES = {  # colour says which conversions, shape and dashes whose
    "recall_all": ("all: model", Mark(BLUE, "o")),
    "popularity_all": ("all: popularity", Mark(GREY, "D", ":", is_filled=False)),
    "recall_new": ("new: model", Mark(ORANGE, "^", "--")),
    "popularity_new": ("new: popularity", Mark(GREY, "v", "-.", is_filled=False)),
}
_OTHERS = {
    "gradient_norm": "gradient norm",
    "learning_rate": "learning rate",
    "table_learning_rate": "learning rate of tables",
    "temperature": "temperature",
}


class Training(NamedTuple):
    """What the section shows: titled plots, and the validations' table."""

    plots: list[tuple[str, Markup]]
    validations: Sequence[dict[str, Any]]
    constants: dict[str, float]


def training(metrics: dict[str, Any]) -> Training | None:
    """None where no curves were written."""
    found = metrics.get("training") or {}
    steps, validations = found.get("steps") or [], found.get("validations") or []
    if not steps and not validations:
        return None
    names = sorted({name for point in steps for name in point} - {"step"})
    plots = []
    losses = [name for name in names if name == "loss" or name.startswith(_TASK_LOSS)]
    if losses:
        titles = [name.removeprefix(_TASK_LOSS) if name != "loss" else "training batch" for name in losses]
        plots.append(("Loss per task", _of_steps(steps, dict(zip(losses, titles, strict=True)), "loss")))
    if validations:
        plots.append(("Validation: recall around 100 on held-out rows", _of_validations(validations)))
    norms = [name for name in names if name.startswith(_NORM)]
    if norms:
        titled = {name: name.removeprefix(_NORM) for name in norms[: len(MARKS)]}
        plots.append(("Mean length of the embedding tables' rows", _of_steps(steps, titled, "length")))
    constants = {}
    for name in (name for name in names if name not in (*losses, *norms)):
        values = {point[name] for point in steps if point.get(name) is not None}
        if len(values) == 1:
            constants[name] = values.pop()
        elif values:
            title = _OTHERS.get(name, name)
            plots.append((title.capitalize(), _of_steps(steps, {name: title}, title)))
    if found.get("temperature") is not None:
        constants["temperature"] = found["temperature"]
    return Training(plots, validations, constants)


def _of_steps(steps: list[dict[str, Any]], titles: dict[str, str], label: str) -> Markup:
    lines = []
    for place, (name, title) in enumerate(titles.items()):
        points = [point for point in steps if name in point]
        x, y = [point["step"] for point in points], [point[name] for point in points]
        lines.append(Line(title, x, y, MARKS[place % len(MARKS)]))
    return line_plot(lines, x_label="step", y_label=label, alt=f"{label} by step: {', '.join(titles.values())}")


def _of_validations(validations: list[dict[str, Any]]) -> Markup:
    x = [point["step"] for point in validations]
    lines = [
        Line(title, x, [point.get(name) for point in validations], mark, has_markers=True)
        for name, (title, mark) in _VALIDATION_LINES.items()
        if any(point.get(name) is not None for point in validations)
    ]
    best = [point["step"] for point in validations if point.get("is_best")]
    moments = {best[-1]: "kept"} if best else None
    alt = "Recall of the held-out rows by step, of all and of new, with popularity's"
    return line_plot(lines, x_label="step", y_label="recall", moments=moments, from_zero=True, alt=alt)
