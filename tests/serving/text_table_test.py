"""Tables keep their columns whatever the titles are."""

from serving.text_table import Column
from serving.text_table import display_width
from serving.text_table import render

COLUMNS = (Column("item"), Column("title"), Column("price", is_number=True))


def test_numbers_are_aligned_to_the_right():
    assert render(COLUMNS, [["a", "cup", "9.50"], ["bb", "", ""]], width=40).splitlines() == [
        "item  title  price",
        "a     cup     9.50",
        "bb",
    ]


def test_long_title_is_shortened_and_the_rest_kept():
    # 40 columns less item (6), price (5) and two gaps of 2 leave 25 for the title.
    lines = render(COLUMNS, [["item-1", "t" * 300, "10.00"]], width=40).splitlines()
    assert lines[1] == f"item-1  {'t' * 24}…  10.00"


def test_wide_characters_count_twice():
    lines = render(COLUMNS, [["a", "商品" * 50, "1"], ["b", "große Tasse", "2"]], width=30).splitlines()
    assert [display_width(line) for line in lines] == [30, 30, 30]


def test_control_characters_cannot_break_the_table():
    lines = render(COLUMNS, [["a", "red\n\x1b[31m cup", "1"]], width=60).splitlines()
    assert lines[1] == "a     red [31m cup      1"
