import numpy as np
import pytest
import tensorflow as tf

from tfx_pipeline.index.variables import shared_variable

VALUES = np.random.default_rng(1).normal(size=(300, 5)).astype(np.float32)


def mapped(folder, mode):
    np.save(folder / "values.npy", VALUES)
    return np.load(folder / "values.npy", mmap_mode=mode)


@pytest.mark.parametrize(
    ("change", "is_shared"),
    [
        (lambda folder: mapped(folder, "c"), True),
        (lambda folder: mapped(folder, "r"), False),  # NumPy does not hand out what must not be written
        (lambda folder: mapped(folder, "c")[1:], False),  # 20 bytes on: not aligned
        (lambda folder: mapped(folder, "c")[:, ::2], False),
    ],
)
def test_a_variable_holds_the_array_and_shares_its_memory_where_it_can(tmp_path, change, is_shared):
    array = change(tmp_path)
    expected = array.copy()
    module = tf.Module()
    module.variable = shared_variable(array, name="values")
    np.testing.assert_array_equal(module.variable.numpy(), expected)
    np.testing.assert_allclose(
        tf.matmul(module.variable, tf.ones([array.shape[1], 1]))[:, 0], expected.sum(1), atol=1e-5
    )
    tf.saved_model.save(module, str(tmp_path / "saved"))
    np.testing.assert_array_equal(tf.saved_model.load(str(tmp_path / "saved")).variable.numpy(), expected)
    if array.flags.writeable:
        array[0, 0] = 99.0
        assert (module.variable.numpy()[0, 0] == 99.0) == is_shared


def test_a_shared_variable_is_written_to_without_its_array_and_its_file(tmp_path):
    array = mapped(tmp_path, "c")
    variable = shared_variable(array, name="values")
    variable.assign(variable * 2)
    np.testing.assert_array_equal(variable.numpy(), VALUES * 2)
    np.testing.assert_array_equal(array, VALUES)
    np.testing.assert_array_equal(np.load(tmp_path / "values.npy"), VALUES)
