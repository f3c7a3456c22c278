from tfx_pipeline.report.training import training


def test_each_task_has_its_line_and_what_never_changes_is_a_number(metrics):
    found = training(metrics)
    assert [title for title, _ in found.plots] == ["Loss per task", "Validation: recall around 100 on held-out rows"]
    losses, validations = (svg for _, svg in found.plots)
    assert [name for name in ("training batch", "conversion", "engagement") if f">{name}<" not in losses] == []
    assert [name for name in ("all: model", "new: popularity", " kept") if f">{name}<" not in validations] == []
    assert found.constants == {"learning_rate": 0.25, "temperature": 0.5}


def test_what_changes_has_a_plot(metrics):
    for step, point in enumerate(metrics["training"]["steps"]):
        point |= {"learning_rate": 0.5**step, "norm_item_id": 1.0}
    titles = [title for title, _ in training(metrics).plots]
    assert titles[2:] == ["Mean length of the embedding tables' rows", "Learning rate"]


def test_without_curves_there_is_nothing():
    assert training({}) is None
    assert training({"training": {"steps": [], "validations": []}}) is None
