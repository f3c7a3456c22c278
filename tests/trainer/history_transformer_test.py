import numpy as np
import pytest
import tensorflow as tf

from trainer.history_transformer import HistoryTransformer

ROW = [(3, 1, 1.0), (4, 2, 30.0), (7, 1, 400.0), (3, 3, 500.0)]


@pytest.fixture(scope="module")
def encoder(parts, small_config):
    config = small_config(dropout=0.0, transformer_layers=2, transformer_heads=2)
    random = tf.random.Generator.from_seed(1)
    return HistoryTransformer(parts.groups, parts.tables, (), parts.catalog, config, random=random)


def test_an_empty_history_is_zeros_and_no_row_reads_another(encoder, histories):
    alone = encoder(histories(ROW)).numpy()
    found = encoder(histories([], ROW, [(5, 1, 2.0)])).numpy()
    np.testing.assert_array_equal(found[0], 0.0)
    np.testing.assert_allclose(found[1], alone[0], rtol=1e-4, atol=1e-5)
    assert np.abs(found[2]).max() > 0.1


def test_what_is_hidden_is_not_read(encoder, histories):
    changed = [ROW[0], (5, 3, 9.0), ROW[2], ROW[3]]
    shown = tf.constant([[True, False, True, True]])
    np.testing.assert_allclose(encoder(histories(ROW), shown), encoder(histories(changed), shown), rtol=1e-4, atol=1e-5)
    assert np.abs(encoder(histories(ROW)) - encoder(histories(changed))).max() > 1e-3


def test_ages_and_not_places_order_the_actions(encoder, histories):
    turned = [ROW[2], ROW[0], ROW[1]]
    np.testing.assert_allclose(encoder(histories(ROW[:3])), encoder(histories(turned)), rtol=1e-4, atol=1e-5)
    older = [(3, 1, 300.0), *ROW[1:3]]
    assert np.abs(encoder(histories(ROW[:3])) - encoder(histories(older))).max() > 1e-3
