"""Whether a load's answers fit the versions that they say they are of."""

import bisect
import itertools
from collections.abc import Sequence
from typing import NamedTuple

from serving.load_generator import Outcome
from serving.load_messages import Answer

_NUM_EXAMPLES = 3


class Checked(NamedTuple):
    """How many answers were looked at, how many are wrong, and what is wrong with the first of these."""

    num_answers: int
    num_wrong: int
    examples: list[str]


def check(outcomes: Sequence[Outcome], *, are_copies: bool) -> Checked:
    """Looks at every answer.

    An answer is wrong if

    - its `index_version` is not the version in its `model_spec`;
    - its items are not those of that version's first answer to the same request: a version that answers before it is
      loaded whole, or a request that runs on two versions, shows here;
    - an answer of a newer version was there before its request was sent.

    Args:
        outcomes: In the order in which they were done.
        are_copies: All versions are copies of one, whose number is a constant in its graph. Then `index_version` must
            be that one's, and all versions must give the same items.
    """
    answered = [(outcome, outcome.answer) for outcome in outcomes if outcome.answer]
    times_s = [outcome.done_s for outcome, _ in answered]
    newest = list(itertools.accumulate((answer.version for _, answer in answered), max, initial=0))
    first: dict[tuple[int, int], Answer] = {}
    wrong = []
    for outcome, answer in answered:
        alike = first.setdefault((outcome.request, 0 if are_copies else answer.version), answer)
        named = alike.index_versions if are_copies else (str(answer.version).encode(),)
        seen = newest[bisect.bisect_left(times_s, outcome.sent_s)]
        if set(answer.index_versions) != set(named):
            wrong.append(f"version {answer.version} called itself {answer.index_versions}")
        elif answer.item_ids != alike.item_ids:
            wrong.append(f"version {answer.version} gave request {outcome.request} two different answers")
        elif answer.version < seen:
            wrong.append(f"version {answer.version} answered a request sent after version {seen} had answered")
    return Checked(len(answered), len(wrong), wrong[:_NUM_EXAMPLES])
