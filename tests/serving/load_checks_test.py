"""Planted wrong answers are found, and no others."""

import pytest

from serving.load_checks import check
from serving.load_generator import Outcome
from serving.load_messages import Answer


def outcome(version, *, items="ab", names=None, request=0, sent_s=0.0, done_s=0.0, error=""):
    answer = Answer(version, ((names or str(version)).encode(),), tuple(item.encode() for item in items))
    return Outcome(request, sent_s, sent_s, done_s, error, None if error else answer)


GOOD = [
    outcome(1, sent_s=0.0, done_s=0.1),
    outcome(1, sent_s=0.1, done_s=0.2, request=1, items="cd"),
    outcome(2, sent_s=0.2, done_s=0.3, items="ef"),
    # Sent before version 2 had answered: the old version may still do so.
    outcome(1, sent_s=0.25, done_s=0.35),
    outcome(0, sent_s=0.3, done_s=0.4, error="UNAVAILABLE"),
    outcome(2, sent_s=0.4, done_s=0.5, items="ef"),
]


def test_answers_that_fit_their_versions_are_right():
    assert check(GOOD, are_copies=False) == (5, 0, [])


@pytest.mark.parametrize(
    ("added", "text"),
    [
        (outcome(2, sent_s=0.6, done_s=0.7, items="ef", names="1"), "version 2 called itself (b'1',)"),
        (outcome(2, sent_s=0.6, done_s=0.7, items="ab"), "version 2 gave request 0 two different answers"),
        (
            outcome(1, sent_s=0.6, done_s=0.7),
            "version 1 answered a request sent after version 2 had answered",
        ),
    ],
)
def test_a_wrong_answer_is_found(added, text):
    assert check([*GOOD, added], are_copies=False) == (6, 1, [text])


def test_copies_must_answer_alike_under_one_name():
    copies = [outcome(7, names="7"), outcome(8, names="7", sent_s=1, done_s=2)]
    assert check(copies, are_copies=True) == (2, 0, [])
    changed = [*copies, outcome(8, names="7", items="ba", sent_s=3, done_s=4)]
    assert check(changed, are_copies=True).examples == ["version 8 gave request 0 two different answers"]
    renamed = [*copies, outcome(8, names="8", sent_s=3, done_s=4)]
    assert check(renamed, are_copies=True).examples == ["version 8 called itself (b'8',)"]
