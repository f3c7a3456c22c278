import pytest
from planted_labels import LAST_DAY
from planted_labels import constant
from planted_labels import write_examples

from tfx_pipeline.health import shares
from tfx_pipeline.health.config import HealthConfig
from tfx_pipeline.health.labels import Labels

COUNTS = {
    "events.rows": 1_000,
    "items.rows": 10,
    "events.dropped.duplicate": 60,
    "conversions.attributed.click": 40,
    "conversions.attributed.none": 60,
    "dead_letters.events.unknown_event": 20,
    "dead_letters.items.duplicate_item": 1,
}


@pytest.fixture
def find(tmp_path):
    def find(check, *, num_touches=1, days=None, **options):
        config = HealthConfig(**options)
        uri = write_examples(tmp_path, days=days or {}, counts=COUNTS, num_touches=num_touches)
        return list(check(Labels.read(uri, config), config))

    return find


@pytest.mark.parametrize(
    ("check", "option", "value"),
    [
        (shares.too_many_duplicates, "max_duplicates_share", 0.06),
        (shares.too_many_unattributed, "max_unattributed_share", 0.6),
    ],
)
def test_a_share_above_its_bound_is_found_and_one_at_it_is_not(find, check, option, value):
    (found,) = find(check, **{option: value - 0.001})
    assert (found.value, found.bound) == (pytest.approx(value), value - 0.001)
    assert f"{value:.1%}" in found.message
    assert option in found.message
    assert find(check, **{option: value}) == []


def test_without_touches_nothing_is_unattributed(find):
    assert find(shares.too_many_unattributed, num_touches=0) == []


def test_dead_letters_are_told_by_table_and_reason_with_the_remedy(find):
    found = {finding.subject: finding for finding in find(shares.too_many_dead_letters)}
    assert {name: finding.value for name, finding in found.items()} == {
        "events.unknown_event": 0.02,
        "items.duplicate_item": 0.1,
    }
    assert "20 of 1,000 rows (2.0%) were set aside as unknown_event" in found["events.unknown_event"].message
    assert "event must be one of" in found["events.unknown_event"].message
    assert set(find(shares.too_many_dead_letters, max_dead_letter_share=0.1)) == set()


def test_silent_days_are_named_by_date(find):
    days = {day: (40, 20) for day in constant(20) if day not in (LAST_DAY - 9, LAST_DAY - 2)}
    (found,) = find(shares.unexpected_silence, days=days)
    assert (found.value, found.bound) == (2, 0)
    assert "2024-09-25, 2024-10-02;" in found.message  # day 20,000 is 2024-10-04
    assert find(shares.unexpected_silence, days=days, max_silent_days=2) == []
