"""The two-tower model as Keras trains it: loss, the two optimizers, and what is reported."""

import tensorflow as tf
import tensorflow_recommenders as tfrs

from schemas.features import FeatureGroups
from trainer.config import TrainerConfig
from trainer.losses import duration_weight
from trainer.losses import sampled_softmax_loss
from trainer.tables import ITEM_VOCABULARY
from trainer.tables import EmbeddingTables
from trainer.tables import ItemContent
from trainer.towers import Features
from trainer.towers import ItemTower
from trainer.towers import QueryTower


class ConversionModel(tfrs.models.Model):
    """Query tower and item tower, trained by an in-batch softmax on conversions and engagements.

    Args:
        groups: features of the schema.
        sizes: entries by vocabulary.
        content: of items in histories, or None.
        config: options.
        rate_floor: positive rate that an item without train positives is given.
    """

    def __init__(
        self,
        groups: FeatureGroups,
        sizes: dict[str, int],
        content: ItemContent | None,
        config: TrainerConfig,
        *,
        rate_floor: float,
    ) -> None:
        super().__init__()
        self._config = config
        self._tables = EmbeddingTables(sizes, config)
        self.content = content
        self.query_tower = QueryTower(groups, self._tables, content, config)
        self.item_tower = ItemTower(groups, self._tables, config, rate_floor=rate_floor)
        # Adam keeps dense moments of a table; Adagrad touches only the rows of the batch.
        # Gradients of a mean over the batch are about 1e-4 an entry; Keras starts with 0.1, which would freeze the tables.
        self.table_optimizer = tf.keras.optimizers.legacy.Adagrad(
            config.table_learning_rate, initial_accumulator_value=1e-6
        )

    def compute_loss(self, inputs: Features, training: bool = False) -> tf.Tensor:
        """Scalar loss of a batch of transformed examples."""
        config = self._config
        rates = inputs["positive_rate"] * config.batch_size
        return sampled_softmax_loss(
            self.query_tower(inputs, training=training),
            self.item_tower(inputs, training=training),
            item_ids=inputs[f"{ITEM_VOCABULARY}_xf"],
            expected_counts=rates if config.use_logq else None,
            weights=row_weights(inputs, config),
            temperature=config.temperature,
        )

    def train_step(self, inputs: Features) -> dict[str, tf.Tensor]:
        """One step: gradients, clipping, both optimizers."""
        with tf.GradientTape() as tape:
            loss = self.compute_loss(inputs, training=True)
        variables = self.trainable_variables
        gradients, norm = tf.clip_by_global_norm(tape.gradient(loss, variables), self._config.clip_norm)
        pairs = list(zip(gradients, variables, strict=True))
        self.table_optimizer.apply_gradients([pair for pair in pairs if _is_table(pair[1])])
        self.optimizer.apply_gradients([pair for pair in pairs if not _is_table(pair[1])])
        return {"loss": loss, "gradient_norm": norm}


def row_weights(inputs: Features, config: TrainerConfig) -> tf.Tensor:
    """[batch] float32: by task, and for engagements by click duration."""
    engagement = duration_weight(inputs["click_duration_s"], t_max_s=config.t_max_s) * config.engagement_weight
    return tf.where(inputs["task"] == "conversion", config.conversion_weight, engagement)


def _is_table(variable: tf.Variable) -> bool:
    return "table_" in variable.name
