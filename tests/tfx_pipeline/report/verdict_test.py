import pytest

from tfx_pipeline.report.verdict import verdict


def _warning(mode):
    return {"check": "volume", "mode": mode, "message": f"{mode} it"}


@pytest.mark.parametrize(
    ("metrics", "is_good", "title", "reasons"),
    [
        ({"pushed_version": "7", "refusals": []}, True, "Pushed: version 7", []),
        ({"pushed_version": None, "refusals": ["a", "b"]}, False, "Refused: nothing was pushed", ["a", "b"]),
        ({"pushed_version": None, "refusals": []}, False, "Not pushed", []),
        ({"stopped": "c"}, False, "Stopped by the data: nothing was pushed", ["c"]),
        (
            {"stopped": "c", "health": {"warnings": [_warning("block"), _warning("warn")]}},
            False,
            "Stopped by the data: nothing was pushed",
            ["volume: block it"],
        ),
        ({}, False, "No verdict: nothing was evaluated", []),
    ],
)
def test_the_verdict_and_why(metrics, is_good, title, reasons):
    found = verdict(metrics)
    assert (found.is_good, found.title, found.reasons) == (is_good, title, reasons)


def test_the_gates_that_refused_stand_first():
    gates = [{"gate": name, "is_passed": name != "b"} for name in ("a", "b", "c")]
    assert [gate["gate"] for gate in verdict({"gates": gates}).gates] == ["b", "a", "c"]
