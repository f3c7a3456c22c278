import pytest

from tfx_pipeline.components.example_gen import check_counts
from tfx_pipeline.examples.config import ExamplesConfig

FINE = {"events.rows": 100, "items.rows": 10, "positives.train": 20, "positives.eval": 5}


def check(changes, **options):
    check_counts({**FINE, **changes}, ExamplesConfig(**options), dead_letters="/out/dead_letters")


def test_a_few_dead_letters_pass():
    check({"dead_letters.events.missing_id": 3, "dead_letters.events.unknown_event": 2})  # 5% of 100, the default share
    check({"dead_letters.items.duplicate_item": 10}, max_dead_letter_share=1.0)
    check({"events.ignored_column.colour": 100, "items.value_dropped.price": 10})


def test_too_many_dead_letters_name_the_share_the_reasons_and_the_remedies():
    with pytest.raises(ValueError, match=r"Table events: 6\.0% of 100 rows were set aside") as error:
        check({"dead_letters.events.missing_id": 2, "dead_letters.events.timestamp_before_1990": 4})
    for told in (
        "max_dead_letter_share=5.0%",
        "2 x missing_id (user_id and item_id must not be empty)",
        "4 x timestamp_before_1990 (timestamp must be in microseconds: are these seconds or milliseconds?)",
        "/out/dead_letters",
    ):
        assert told in str(error.value)


@pytest.mark.parametrize("table", ["items", "users"])
def test_each_table_has_its_own_share(table):
    with pytest.raises(ValueError, match=f"Table {table}: 20.0% of 10 rows.*2 x missing_id"):
        check({f"{table}.rows": 10, f"dead_letters.{table}.missing_id": 2})


def test_rows_of_items_that_are_not_in_the_catalogue_count_not_their_letters():
    changes = {"dead_letters.events.item_not_in_catalogue": 1, "events.dropped.item_not_in_catalogue": 30}
    with pytest.raises(ValueError, match=r"30\.0% of 100 rows.*30 x item_not_in_catalogue .*add the item"):
        check(changes)


def test_an_empty_catalogue_is_refused():
    with pytest.raises(ValueError, match="Table items has no rows: the catalogue must list every item"):
        check({"items.rows": 0})


@pytest.mark.parametrize("split", ["train", "eval"])
def test_a_split_without_positives_is_refused(split):
    with pytest.raises(ValueError, match=f"Split {split} has no positives: .*change examples.cut or"):
        check({f"positives.{split}": 0})
