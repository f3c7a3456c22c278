import pytest

from tfx_pipeline.components.catalog_example_gen import check_values
from tfx_pipeline.examples.config import ExamplesConfig


def test_a_few_unusable_values_pass():
    check_values(
        {"items.rows": 100, "items.value_dropped.price": 5, "items.ignored_column.colour": 90}, ExamplesConfig()
    )


def test_a_column_of_unusable_values_is_named_with_its_share_and_the_limit():
    counts = {"items.rows": 100, "items.value_dropped.embedding": 6}
    with pytest.raises(ValueError, match=r"Column embedding of the items: 6\.0% of 100 .*max_dead_letter_share=5\.0%"):
        check_values(counts, ExamplesConfig())
