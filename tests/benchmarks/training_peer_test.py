"""What the model in PyTorch is given; that it computes the same is shown by the benchmark itself, which has PyTorch."""

import numpy as np
import pytest

from benchmarks.training_peer import TorchPeer
from benchmarks.training_peer import weights_of


def _arrays(found):
    if isinstance(found, np.ndarray):
        return [found]
    return [array for part in (found.values() if isinstance(found, dict) else found) for array in _arrays(part)]


def test_every_weight_is_given_once(trained):
    given, variables = _arrays(weights_of(trained.model)), trained.model.trainable_variables
    assert sorted(array.shape for array in given) == sorted(tuple(variable.shape) for variable in variables)
    assert sum(map(np.sum, given)) == pytest.approx(sum(float(variable.numpy().sum()) for variable in variables))


def test_an_option_that_it_lacks_is_named(trained, small_config):
    with pytest.raises(ValueError, match=r"trainer\.heads, trainer\.logq"):
        TorchPeer(trained.model, ((), ()), [], small_config(heads="multi", logq="none"), [], num_threads=1)
