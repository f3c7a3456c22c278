import json

import pytest
from parsed_page import ParsedPage

from tfx_pipeline.report.page import render
from tfx_pipeline.report.page import write_page

SECTIONS = [
    *("gates", "headline", "slices", "training", "recall", "index", "retrieved", "health", "trend", "samples"),
    "configuration",
]


@pytest.fixture(scope="module")
def cached():
    """Pages of all tests by metrics: plots take most of the time."""
    return {}


@pytest.fixture
def page(cached):
    def parse(metrics):
        text = json.dumps(metrics)
        if text not in cached:
            cached[text] = ParsedPage(render(metrics, []))
        return cached[text]

    return parse


def test_what_a_person_wants_first_comes_first(page, metrics):
    found = page(metrics)
    assert "✓ Pushed: version 20260101" in found.text[""]
    assert "synthetic data" in found.text[""]
    assert found.sections == SECTIONS
    assert found.unclosed == []


def test_it_opens_offline(page, metrics):
    found = page(metrics)
    assert {value for value in found.loads if not value.startswith("#")} == set()
    assert not found.tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    assert not {text for text in ("url(", "@import", "http") if text in found.styles}
    assert found.handlers == []


def test_it_is_small_and_the_same_each_time(metrics):
    first = render(metrics, [])
    assert len(first) < 200_000
    assert render(metrics, []) == first


def test_what_users_data_holds_is_text(page, metrics):
    hostile = metrics["data"]["notice"]
    html = render(metrics, [])
    assert "<script" not in html
    found = page(metrics)
    for section in ("", "slices", "retrieved", "health", "samples", "configuration"):
        assert hostile in found.text[section], section


def cells(found, section, first):
    """The row of a section that begins so."""
    return next(row for row in found.rows[section] if row[0] == first)


def test_numbers_are_those_of_the_metrics(page, metrics):
    found = page(metrics)
    gate = metrics["gates"][0]
    assert cells(found, "gates", "min_lift")[1:6] == ["overall", "recall@100", "0.2123", "0.0625", "✓ passed"]
    assert cells(found, "gates", "min_lift")[6] == gate["message"]
    # value, then its interval: 0.212345 +- 0.01; the change, 0 +- 0.005, has no arrow
    row = ["recall@100", "0.2123 0.2023–0.2223", "0.2123 0.2023–0.2223"]  # noqa: RUF001
    assert cells(found, "headline", "recall@100")[:3] == row
    assert cells(found, "headline", "recall@100")[3:] == ["0.0000 -0.0050 to +0.0050", "0.0625 0.0525–0.0725"]  # noqa: RUF001
    assert "3.40×" in found.text["headline"]  # noqa: RUF001  (0.212345 / 0.0625)
    assert cells(found, "slices", "mailer")[1:3] == ["1,234", "56"]
    assert cells(found, "slices", "mailer")[5] == "▼ -0.0400 -0.0450 to -0.0350"
    assert cells(found, "recall", "100") == ["100", "0.2123", "0.0625"]
    assert cells(found, "index", "4") == ["4", "800", "0.9876", "0.2345", "✓"]
    assert cells(found, "index", "exact search")[3] == "0.5078"
    assert "finds 98.8% of the exact answers" in found.text["index"]
    assert cells(found, "retrieved", "Gini: 0 all items alike, 1 one item only")[1:] == ["0.8765", "0.9990"]
    assert cells(found, "health", "volume")[3:5] == ["4.2500", "3.0000"]
    assert cells(found, "health", "Unattributed conversions")[1] == "34.6%"
    assert cells(found, "training", "20")[1:5] == ["0.2000", "0.1000", "0.1000", "0.0500"]
    assert cells(found, "samples", "1 ✓")[3] == "1.5000"
    assert cells(found, "configuration", "epochs")[1] == "7 (default 4)"
    assert cells(found, "configuration", "tensorflow")[1] == "2.16.2"


def test_slices_that_are_worse_are_named_before_the_plots(page, metrics):
    text = page(metrics).text["slices"]
    worse, better = text.index("surface=mailer"), text.index(f"surface={metrics['data']['notice']}")
    assert text.index("Worse than the last") < worse < text.index("Better than the last") < better
    assert better < text.index("recall@100 by surface")


def test_a_user_sees_history_beside_what_is_retrieved(page, metrics):
    text = page(metrics).text["samples"]
    assert "1 actions, 1 of 2 bought items among the first 2" in text
    assert "Not found" in text


@pytest.mark.parametrize(
    ("key", "section"),
    [
        ("slices", "slices"),
        ("training", "training"),
        ("recall_curve", "recall"),
        ("tuning", "index"),
        ("retrieved", "retrieved"),
        ("health", "health"),
        ("samples", "samples"),
        ("versions", "configuration"),
        ("config", "configuration"),
    ],
)
def test_what_is_missing_is_said_to_be_not_measured(page, metrics, key, section):
    assert "not measured" not in page(metrics).text[section]
    kept = {name: metrics[name] for name in ("eval", "index", "refusals", "versions", "config", "examples")}
    if key in ("versions", "config"):
        kept.pop(key)
    found = page(kept)
    assert "not measured" in found.text[section]
    assert found.sections == SECTIONS


def test_without_slices_the_headline_is_that_of_eval_and_says_that_it_has_no_intervals(page, metrics):
    kept = {name: metrics[name] for name in ("eval", "index", "refusals", "versions", "config", "examples")}
    found = page(kept)
    assert cells(found, "headline", "recall@100") == ["recall@100", "0.2222", "0.0556"]
    assert "No intervals" in found.text["headline"]
    assert cells(found, "health", "events.no_item") == ["events.no_item", "17"]


def test_a_refused_run_says_why_first(metrics, page):
    refused = {"refusals": ["surface=mailer fell"], "pushed_version": None, "blessed": False}
    found = page({**metrics, **refused, "slices": [], "training": None, "tuning": None})
    assert "✗ Refused: nothing was pushed" in found.text[""]
    assert found.text[""].index("surface=mailer fell") < found.text[""].index("tables")


def test_a_stopped_run_shows_what_was_measured_until_then(metrics, page):
    kept = {name: metrics[name] for name in ("data", "health", "config")}
    kept["health"]["is_blocked"] = True
    kept["health"]["warnings"][0] |= {"mode": "block", "message": "too many conversions"}
    found = page({**kept, "pushed_version": None, "stopped": "DataHealth: blocked"})
    assert "✗ Stopped by the data: nothing was pushed" in found.text[""]
    assert "volume: too many conversions" in found.text[""]
    assert "The run stopped before it." in found.text["slices"]
    assert found.sections == ["health", *(name for name in SECTIONS if name != "health")]
    assert "The data blocked the run." in found.text["health"]
    assert "Conversions per day from 2020-01-01 to 2020-01-04" in found.text["health"]


def test_nothing_but_a_name_is_needed(page):
    assert page({}).sections == SECTIONS


def test_the_trend_is_that_of_ml_metadata(tmp_path, metrics, evaluated):
    evaluated(1, json.dumps({**metrics, "index_version": "20251231", "blessed": False, "slices": []}))
    evaluated(2, json.dumps(metrics))
    path = write_page(tmp_path, {name: metrics[name] for name in ("eval", "refusals", "index_version")})
    assert path == tmp_path / "report" / "index.html"
    assert [file.name for file in path.parent.iterdir()] == ["index.html"]
    found = ParsedPage(path.read_text())
    first, second = found.rows["trend"][1:]
    assert first[2:6] == ["20251231", "✗ refused", "1,234", "0.2222"]
    assert second[2:4] == ["20260101 (this run)", "✓ blessed"]
    assert second[5] == "0.2123 0.2023–0.2223"  # noqa: RUF001


def test_many_gates_do_not_stand_before_the_headline(page, metrics):
    passed = metrics["gates"][0]
    refused = {**passed, "gate": "no_worse", "slice": "surface=mailer", "is_passed": False}
    found = page({"gates": [*[passed] * 10, refused], "refusals": ["no"], "eval": metrics["eval"]})
    assert "1 of 11 gates refused." in found.text["gates"]
    assert [row[0] for row in found.rows["gates"]] == ["Gate", "no_worse", "Gate", *["min_lift"] * 10]
    assert "10 gates passed" in found.text["gates"]
