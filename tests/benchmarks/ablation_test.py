import dataclasses

import pytest

from benchmarks.ablation import read_results
from benchmarks.ablation import table
from benchmarks.ablation_variants import VARIANTS
from trainer.config import TrainerConfig


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_a_configuration_and_no_two_are_the_same(name):
    built = {other: dataclasses.replace(TrainerConfig(), **variant.changes) for other, variant in VARIANTS.items()}
    assert [other for other, config in built.items() if config == built[name]] == [name]


def result(variant, value, **changes):
    recall = {f"{kind} @{k}": value for kind in ("all", "new") for k in (10, 100, 1000)}
    return {
        "variant": variant,
        "recall": recall,
        "popularity": dict.fromkeys(recall, 0.05),
        "engagements": None,
        "train_s": 30,
        **changes,
    }


def test_the_table_has_means_and_deviations_over_seeds():
    # Of 0.1 and 0.2 the mean is 0.15, the sample's standard deviation 0.1 / sqrt(2).
    given = [
        result("default", 0.1),
        result("default", 0.2),
        result("multi", 0.3, engagements=0.4, held_out=[0.25, 0.15]),
    ]
    lines = table([*given, {"variant": "in_batch", "skipped": "no x"}], title="t").splitlines()
    assert lines[4] == "| popularity | " + "0.0500 | " * 6 + "| | | |"
    assert lines[5] == "| default | " + "0.1500 ± 0.0707 | " * 6 + " |  |  | 30 |"
    assert lines[6] == "| multi | " + "0.3000 | " * 6 + "0.4000 | 0.2500 | 0.1500 | 30 |"
    assert lines[8] == "No different from the default: in_batch (no x)"


def test_of_a_simulated_market_each_recall_has_its_share_of_the_best_possible():
    given = result("default", 0.1)
    lines = table([{**given, "best": dict.fromkeys(given["recall"], 0.4)}], title="t").splitlines()
    assert lines[5] == "| best possible | " + "0.4000 | " * 6 + "| | | |"
    assert lines[6] == "| default | " + "0.1000 (25%) | " * 6 + " |  |  | 30 |"


def test_half_a_line_is_no_result(tmp_path):
    file = tmp_path / "ablation.jsonl"
    assert read_results(file) == []
    file.write_text('{"variant": "a"}\n{"variant": "b"')
    assert read_results(file) == [{"variant": "a"}]
