import re

import pytest

from tfx_pipeline.report.figures import BLUE
from tfx_pipeline.report.figures import WIDTH
from tfx_pipeline.report.figures import draw
from tfx_pipeline.report.figures import shortened


@pytest.fixture(scope="module")
def drawn():
    def paint(axes):
        axes.plot([0, 1], [0, 1], "o-", color=BLUE)
        axes.set_xlabel('$a$ <b>&"')

    return draw(paint, height=100, alt='two "points" <b>')


def test_every_colour_follows_the_page(drawn):
    assert "#" not in re.sub(r'(href="|url\(|&)#', "", drawn)
    assert {"var(--blue)", "var(--ink)", "var(--muted)"} <= set(re.findall(r"var\(--\w+\)", drawn))


def test_text_is_text_in_the_pages_font(drawn):
    assert '$a$ &lt;b&gt;&amp;"' in drawn
    assert "font-family" not in drawn
    assert "font:" not in drawn


def test_it_scales_with_its_column_and_says_what_it_shows(drawn):
    head = drawn[: drawn.index(">")]
    assert f'viewBox="0 0 {WIDTH} 100"' in head
    assert 'aria-label="two &#34;points&#34; &lt;b&gt;' in head
    assert not {name for name in ("<?xml", "<!--", "<metadata", "<style", "http") if name in drawn}


@pytest.mark.parametrize(
    ("label", "expected"),
    [("short", "short"), ("a\x00b\nc", "abc"), ("abcdefghijkl", "abcd…ijkl"), ("123456789", "123456789"), (7, "7")],
)
def test_long_labels_keep_both_ends(label, expected):
    assert shortened(label, 9) == expected
