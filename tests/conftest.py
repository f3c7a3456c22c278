"""Fixtures that tests of several packages share, from the modules in `shared`."""

import re
import sys
from pathlib import Path

from xdist.scheduler import LoadFileScheduling

import trainer  # noqa: F401 (chooses Keras 2 before any test imports TensorFlow)

sys.path.append(str(Path(__file__).parent / "shared"))
pytest_plugins = ("either_client", "fresh_process", "planted_market", "planted_model", "planted_retriever", "relay")

_ROOT = Path(__file__).parents[1]
_NEEDS_MARKET = re.compile(r"def \w+\([^)]*\b(market|trained|towers|market_catalog|planted_retriever)\b")
_OF_MODEL = {"market", "trained", "planted_retriever", "simulated"}
_NEEDS_SIMULATED = re.compile(r"def \w+\([^)]*\bsimulated\b")


class _ByFile(LoadFileScheduling):
    """Tests of one file run in one process, and so do all that need one market: making it and training takes a minute."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        text = (_ROOT / file).read_text()
        if _NEEDS_SIMULATED.search(text):
            return "simulated"
        return "market" if _NEEDS_MARKET.search(text) else file


def pytest_collection_modifyitems(items):
    """Marks what waits for a trained model, whatever fixtures lie between; what takes longest comes first.

    With the pipelines at the end one process would run them alone, for minutes.
    """
    for item in items:
        if _OF_MODEL & set(item.fixturenames):
            item.add_marker("model")
    items.sort(key=lambda item: [item.get_closest_marker(name) is None for name in ("e2e", "model")])


def pytest_xdist_make_scheduler(config, log):
    return _ByFile(config, log)
