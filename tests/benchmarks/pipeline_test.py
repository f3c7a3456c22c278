from benchmarks.pipeline import table


def result(events, trainer_s):
    seconds = {"Trainer": trainer_s, "HealthGate": 0.1, "whole run": 2 * trainer_s}
    return {"events": events, "seconds": seconds, "cpu_s": 7, "peak_mb": 1234.5, "disk_mb": 3, "recall": "0.3 / 0.2"}


def test_the_table_has_the_slowest_first_and_how_they_grow():
    lines = table([result(1_000, 10.0), result(10_000, 50.0)]).splitlines()
    assert lines[0] == "| seconds | 1,000 events | 10,000 events | exponent |"
    assert lines[2] == "| whole run | 20 | 100 | 0.70 |"  # log10(5)
    assert lines[3] == "| Trainer | 10 | 50 | 0.70 |"
    assert lines[5] == "| most memory of a process [MB] | 1,234 | 1,234 | |"
    assert not any("HealthGate" in line for line in lines)
