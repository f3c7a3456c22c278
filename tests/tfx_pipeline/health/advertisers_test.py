import pytest
from planted_labels import constant
from planted_labels import write_examples
from scipy import stats

from tfx_pipeline.health.advertisers import changed_advertisers
from tfx_pipeline.health.advertisers import volume_change
from tfx_pipeline.health.config import HealthConfig
from tfx_pipeline.health.labels import Labels

STEADY = {f"steady{number}": constant(10) for number in range(20)}


@pytest.fixture
def find(tmp_path):
    """Subjects, values and bounds by check."""

    def find(advertisers, *, check=changed_advertisers, **options):
        config = HealthConfig(**options)
        labels = Labels.read(write_examples(tmp_path, advertisers=advertisers), config)
        return {(found.check, found.subject): found for found in check(labels, config)}

    return find


def test_a_jump_and_a_stop_are_named_with_what_was_to_be_expected(find):
    found = find({**STEADY, "jumps": constant(10, recent=100), "stops": constant(10, recent=0)})
    assert set(found) == {("advertiser_jump", "jumps"), ("advertiser_stop", "stops")}
    jump, stop = found.values()
    assert (jump.value, stop.value) == (700, 0)
    # 280 before let 70 be expected: three times as many are allowed, and a third, 23.3.
    assert (jump.bound, stop.bound) == (210, 24)
    assert "'jumps' has 700 conversions in the last 7 days and 280 in the 28 before" in jump.message
    assert "health.max_change" in jump.message


def test_growth_within_the_bound_is_none(find):
    changes = {"triples": constant(10, recent=30), "thirds": constant(30, recent=10)}
    assert find({**STEADY, **changes}) == {}
    assert set(find({**STEADY, **changes}, max_change=1.5)) == {
        ("advertiser_jump", "triples"),
        ("advertiser_stop", "thirds"),
    }


def test_few_conversions_decide_nothing(find):
    # 28 conversions before and none now, 0.8^28 = 0.002, of 21 advertisers; and 29 in all, below the support of 30.
    assert find({**STEADY, "small": constant(1, recent=0)}) == {}
    assert find({"small": {**constant(0), **constant(1, length=29)}}, max_change=1.01, false_alarm=0.99) == {}


def test_the_bound_of_a_small_advertiser_is_what_chance_explains(find):
    # 56 before let 14 be expected; 0.001 over 21 advertisers.
    (found,) = find({**STEADY, "jumps": constant(2, recent=50)}).values()
    alarm = 0.001 / 21
    tails = {n: stats.binom.sf(n - 1, n + 56, 0.2) for n in range(14, 100)}
    assert found.bound == max(3 * 14, max(n for n, tail in tails.items() if tail >= alarm))
    (found,) = find({**STEADY, "stops": constant(2, recent=0)}).values()
    lower = {n: stats.binom.cdf(n, n + 56, 0.2) for n in range(14)}
    assert found.bound == min(14 / 3, min(n for n, tail in lower.items() if tail >= alarm)) == 2


def test_a_season_that_all_share_names_nobody_but_the_market(find):
    advertisers = {name: constant(10, recent=60) for name in STEADY}
    assert find(advertisers) == {}
    (found,) = find(advertisers, check=volume_change).values()
    assert (found.value, found.subject) == (20 * 420, "all conversions")
    assert found.bound == 3 * 1_400


def test_beside_one_big_jump_the_others_do_not_stop(find):
    assert set(find({**STEADY, "giant": constant(100, recent=20_000)})) == {("advertiser_jump", "giant")}


def test_an_only_advertiser_is_held_to_the_days(find):
    assert set(find({"only": constant(10, recent=0)})) == {("advertiser_stop", "only")}
    assert [found.value for found in find({"only": constant(10, recent=0)}, check=volume_change).values()] == [0]


def test_a_new_advertiser_does_not_jump(find):
    assert find({**STEADY, "new": constant(0, recent=10)}) == {}


def test_baskets_are_no_jump(find):
    """Ten before and 60 now on 7 days; bought singly that is a jump, in one basket of 10 before it is none."""
    days = list(constant(0))
    recent = dict.fromkeys(days[-1:], 60)
    single, basket = {**dict.fromkeys(days[:10], 1), **recent}, {days[0]: 10, **recent}
    found = find({**STEADY, "single": single, "basket": basket})
    assert set(found) == {("advertiser_jump", "single")}


def test_the_least_probable_are_named_first_and_at_most_twenty(find):
    stopped = {f"stops{size:02}": constant(size, recent=0) for size in range(10, 40)}
    found = list(find({**{f"more{n}": constant(100) for n in range(40)}, **stopped}))
    assert found == [("advertiser_stop", f"stops{size}") for size in range(39, 19, -1)]


def test_short_data_have_no_windows(find):
    advertisers = {"stops": constant(100, recent=0, length=13)}
    assert find(advertisers) == find(advertisers, check=volume_change) == {}
