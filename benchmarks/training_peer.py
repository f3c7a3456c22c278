"""The same model in PyTorch beside this one: what it is given, its process, and the proof that both compute the same."""

import pickle
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf

from benchmarks.index_environment import ROOT
from schemas.features import Feature
from trainer.config import TrainerConfig
from trainer.inputs import ITEM
from trainer.inputs import USER_WEIGHT
from trainer.model import ConversionModel
from trainer.tables import ITEM_VOCABULARY
from trainer.tables import Features
from trainer.tables import dense_lists
from trainer.weights import event_weight
from trainer.weights import row_weights

_ENVIRONMENT = ROOT / ".venv-torch"
_PACKAGES = ("torch==2.13.0", "numpy")
_INDEX = "https://download.pytorch.org/whl/cpu"
_TOLERANCE = 1e-4
_IDENTITY = re.compile(r"dense(_\d+)?/kernel:0")  # the number is that of the layers that Keras made before
_DEFAULTS = (
    "architecture",
    "heads",
    "history_encoder",
    "history_content",
    "logq",
    "advertiser_loss",
    "impression_negatives",
    "use_performance",
    "dropout",
    "temperature",
)
"""Options of which only the default is written in PyTorch."""


class TorchPeer:
    """A process that trains the PyTorch model on the same batches, from the same weights.

    Args:
        model: built.
        features: of the query tower, that a vector is made of; of the item tower.
        events: names of a history's events, in the order of their indices.
        config: of the model.
        batches: that it trains on, all of as many rows.
        num_threads: of PyTorch.

    Raises:
        ValueError: the model has an option that is not written in PyTorch, or both compute different losses or gradients.
    """

    def __init__(
        self,
        model: ConversionModel,
        features: tuple[Sequence[Feature], Sequence[Feature]],
        events: Sequence[str],
        config: TrainerConfig,
        batches: Sequence[Features],
        *,
        num_threads: int,
    ) -> None:
        default = TrainerConfig()
        if changed := [name for name in _DEFAULTS if getattr(config, name) != getattr(default, name)]:
            raise ValueError(f"The model in PyTorch has only the defaults of trainer.{', trainer.'.join(changed)}.")
        loss, norm, draws = _first_step(model, batches[0])
        given = {
            **_constants(model, config, events),
            **weights_of(model),
            **_features(model, *features),
            "batches": [_plain(batch, config) for batch in batches],
            "draws": draws,
            "batch_size": len(batches[0][ITEM]),
            "num_threads": num_threads,
        }
        with tempfile.NamedTemporaryFile(suffix=".pickle") as file:
            pickle.dump(given, file)
            file.flush()
            command = [str(_python()), "-W", "ignore", str(Path(__file__).with_name("training_torch.py")), file.name]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            theirs = self._answer()
        if not np.allclose((loss, norm), theirs, rtol=_TOLERANCE):
            raise ValueError(
                f"PyTorch's loss and gradient norm are {theirs}, of the same batch, weights and draws ours are {loss, norm}"
            )
        print(
            f"same batch, weights and draws: loss {loss:.6f}, PyTorch's {theirs[0]:.6f}; gradient norm {norm:.6f}, {theirs[1]:.6f}"
        )

    def steps_per_second(self, seconds: float) -> float:
        """Trains for so long."""
        assert self._process.stdin
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        count, took_s, _ = self._answer()
        return count / took_s

    def _answer(self) -> tuple[float, ...]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"PyTorch's process ended with {self._process.wait()}; its last lines are above.")
        return tuple(map(float, line.split()))


def _python() -> Path:
    """Of an environment of its own, made at the first call: PyTorch is no part of the project."""
    python, stamp = _ENVIRONMENT / "bin/python", _ENVIRONMENT / "installed"
    wanted = " ".join(_PACKAGES)
    if not stamp.is_file() or stamp.read_text() != wanted:
        print("Setting up .venv-torch", flush=True)
        shutil.rmtree(_ENVIRONMENT, ignore_errors=True)
        maker = shutil.which("python3") or sys.executable
        subprocess.run([maker, "-m", "venv", str(_ENVIRONMENT)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--extra-index-url", _INDEX]
        subprocess.run([*install, *_PACKAGES], check=True)
        stamp.write_text(wanted)
    return python


def _first_step(model: ConversionModel, batch: Features) -> tuple[float, float, list[np.ndarray]]:
    """Loss and gradients' norm, and all draws in their order."""
    draws: list[np.ndarray] = []
    uniform = tf.random.Generator.uniform

    def recorded(generator: tf.random.Generator, *args: Any, **kwargs: Any) -> tf.Tensor:
        values = uniform(generator, *args, **kwargs)
        draws.append(values.numpy())
        return values

    with mock.patch.object(tf.random.Generator, "uniform", recorded):
        loss, gradients = model.loss_and_gradients(batch)
    dense = [tf.convert_to_tensor(gradient) for gradient in gradients]  # a table's row may have several gradients
    return float(loss), float(tf.linalg.global_norm(dense)), draws


def _constants(model: ConversionModel, config: TrainerConfig, events: Sequence[str]) -> dict[str, Any]:
    names = (
        "history_dropout",
        "item_dropout",
        "reconstruction_weight",
        "learning_rate",
        "table_learning_rate",
        "clip_norm",
    )
    rates = model.catalog.column("positive_rate").numpy()
    return {
        **{name: getattr(config, name) for name in names},
        "num_crosses": config.num_cross_layers,
        "num_draws": model.num_draws,
        "num_items": model.catalog.num_items,
        "rate_floor": float(rates[rates > 0].min()) / 2,
        "event_weights": np.array([0.0, *(event_weight(event, config) for event in events)], np.float32),
    }


def weights_of(model: ConversionModel) -> dict[str, Any]:
    """Arrays and lists of arrays, by the names that Keras gave; within a layer in the order in which it computes."""
    found = {variable.name: variable.numpy() for variable in model.trainable_variables}

    def of(prefix: str) -> list[np.ndarray]:
        return [value for name, value in found.items() if name.startswith(prefix)]

    def scores(layer: str) -> list[np.ndarray]:
        """Of event types and of ages: one number each."""
        return [value for value in of(f"{layer}/action_weights/") if value.shape[1] == 1]

    is_table = {name: "table_" in name and value.shape[1] > 1 for name, value in found.items()}
    return {
        "tables": {name.partition("table_")[2].partition("/")[0]: found[name] for name in found if is_table[name]},
        "query_body": of("query_body/"),
        "item_body": of("item_body/"),
        "history": scores("history"),
        "repeats": scores("repeat_bonus"),
        "repeat_weights": of("weights:")[0],
        "identity": next(value for name, value in found.items() if _IDENTITY.fullmatch(name)),
    }


def _features(model: ConversionModel, query: Sequence[Feature], item: Sequence[Feature]) -> dict[str, Any]:
    def described(features: Sequence[Feature]) -> list[tuple[str, str, str]]:
        return [(feature.transformed_name, feature.treatment, feature.vocabulary) for feature in features]

    every = tf.range(model.catalog.num_items, dtype=tf.int64)
    of_catalog = [feature for feature in item if feature.name != ITEM_VOCABULARY and not feature.is_performance]
    return {
        "query_features": described(query),
        "item_features": described(
            [feature for feature in item if feature.treatment != "popularity" and not feature.is_performance]
        ),
        "content": [(feature.name, feature.vocabulary) for feature in model.catalog.content],
        "columns": {feature.name: model.catalog.lookup(feature, every).numpy() for feature in of_catalog},
    }


def _plain(batch: Features, config: TrainerConfig) -> dict[str, np.ndarray]:
    """Lists padded; labels as numbers."""
    kept = {name: value for name, value in batch.items() if value.dtype != tf.string and name.endswith("_xf")}
    return {
        **{
            name: (dense_lists(value) if isinstance(value, tf.RaggedTensor) else value).numpy()
            for name, value in kept.items()
        },
        USER_WEIGHT: batch[USER_WEIGHT].numpy(),
        "row_weight": row_weights(batch, config).numpy(),
        "is_engagement": (batch["task"] != "conversion").numpy().astype(np.int64),
    }
