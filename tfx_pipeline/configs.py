"""The configuration of a run: defaults by source, a file, and single values from the command line."""

import dataclasses
import json
import typing
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from schemas import contract
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.examples.config import ExamplesConfig
from tfx_pipeline.health.config import HealthConfig
from tfx_pipeline.refresh_config import RefreshConfig
from trainer.config import TrainerConfig

TABLES = "tables"
"""The source that is no adapter: a folder that already has the form of the data contract."""


@dataclass(frozen=True)
class IndexConfig:
    """The index that is served.

    Attributes:
        kind: `exact`, `scann`, `scann_int8` (a fifth less memory, some time more), `ivf` (stock TensorFlow operations)
            or `auto` (exact below 20,000 items, ScaNN from there).
        max_k: most results of a request; a smaller catalogue lowers it.
        target_recall: share of the exact top 100 that an approximate kind is tuned to find, above 0, up to 1.
    """

    kind: str = "auto"
    max_k: int = contract.MAX_K
    target_recall: float = 0.98

    def __post_init__(self) -> None:
        """Rejects values that no run could use."""
        if self.kind not in ("auto", "exact", "scann", "scann_int8", "ivf"):
            raise ValueError(f"index.kind must be auto, exact, scann, scann_int8 or ivf. Received: {self.kind!r}")
        if self.max_k < 1:
            raise ValueError(f"index.max_k must be >= 1. Received: {self.max_k}")
        if not 0 < self.target_recall <= 1:
            raise ValueError(f"index.target_recall must be above 0 and up to 1. Received: {self.target_recall}")


@dataclass(frozen=True)
class PushConfig:
    """The folder that a model server reads.

    Attributes:
        kept_versions: newest versions that a push leaves there to go back to, retired ones counted.
    """

    kept_versions: int = 3

    def __post_init__(self) -> None:
        """Rejects values that no run could use."""
        if self.kept_versions < 1:
            raise ValueError(f"push.kept_versions must be >= 1. Received: {self.kept_versions}")


@dataclass(frozen=True)
class RunConfig:
    """One section per stage; `source` holds the options of the source, by name."""

    source: dict[str, Any] = field(default_factory=dict)
    examples: ExamplesConfig = field(default_factory=ExamplesConfig)
    health: HealthConfig = field(default_factory=HealthConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    index: IndexConfig = field(default_factory=IndexConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    push: PushConfig = field(default_factory=PushConfig)
    refresh: RefreshConfig = field(default_factory=RefreshConfig)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)


DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "online_retail": {
        "examples": {"cut": "2011-09-01", "history_length": 150},
        "trainer": {"epochs": 4},
    },
    "complete_journey": {
        "examples": {"eval_days": 14, "history_length": 600, "train_history_length": 100},
        # Impressions are sampled from the promoted products that a basket did not take: purchases have none.
        "health": {"unattributed": "off"},
        "trainer": {"epochs": 1, "validations_per_epoch": 5, "max_history": 100},
    },
    "retailrocket": {
        "examples": {"cut": "2015-08-20"},
        # Sessions, not whole lives, say what comes next.
        "trainer": {"epochs": 5, "validations_per_epoch": 1, "history_dropout": 0.0},
    },
    "marketplace_simulator": {
        "examples": {"eval_days": 12},
        "trainer": {"epochs": 5},
    },
    TABLES: {},
}
"""Values that differ from the dataclasses' own, by source and section."""


def build_config(source: str, *, file: Path | None = None, settings: typing.Sequence[str] = ()) -> RunConfig:
    """The source's defaults, then the file's values, then each `section.field=value`.

    Raises:
        ValueError: an unknown source, section or field, a value of the wrong type, or an unreadable file.
    """
    if source not in DEFAULTS:
        raise ValueError(f"--source must be one of {', '.join(DEFAULTS)}. Received: {source!r}")
    values: dict[str, dict[str, Any]] = {name: dict(fields) for name, fields in DEFAULTS[source].items()}
    for section, fields in (_read_file(file) if file else {}).items():
        values.setdefault(section, {}).update(fields)
    return restored_config(values, settings=settings)


def restored_config(values: dict[str, dict[str, Any]], *, settings: typing.Sequence[str] = ()) -> RunConfig:
    """Sections such as `RunConfig.to_dict` gives them, then each `section.field=value`.

    Raises:
        ValueError: an unknown section or field, or a value of the wrong type.
    """
    for setting in settings:
        section, name, value = _parse_setting(setting)
        values = {**values, section: {**values.get(section, {}), name: value}}
    sections: dict[str, Any] = {f.name: f.default_factory for f in dataclasses.fields(RunConfig)}
    if unknown := set(values) - set(sections):
        raise ValueError(f"Unknown section of the configuration: {sorted(unknown)}. Sections: {', '.join(sections)}")
    built = {
        name: kind(**values.get(name, {})) if name == "source" else _section(name, kind, values.get(name, {}))
        for name, kind in sections.items()
    }
    return RunConfig(**built)


def convert(value: Any, kind: Any, *, name: str) -> Any:
    """A command-line text or a file's value as the field's type.

    Raises:
        ValueError: the text does not parse, or the value has another type.
    """
    error: Exception | None = None
    try:
        found = _parse(value, kind) if isinstance(value, str) else value
    except (KeyError, ValueError) as caught:
        error = caught
    if error or not _is(found, kind):
        raise ValueError(f"{name} must be {getattr(kind, '__name__', kind)}. Received: {value!r}") from error
    return float(found) if kind is float else found


def _parse(text: str, kind: Any) -> Any:
    if kind is bool:
        return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    if kind in (int, float, str):
        return kind(text)
    of = typing.get_args(kind)[0]
    return tuple(of(part) for part in text.split(",") if part)


def _is(value: Any, kind: Any) -> bool:
    """Whether a value fits a field: a whole number is a float, a list a tuple, but a bool is no number."""
    if typing.get_origin(kind) is tuple:
        return isinstance(value, list | tuple) and all(_is(part, typing.get_args(kind)[0]) for part in value)
    accepted: Any = {bool: bool, int: int, float: (int, float), str: str}[kind]
    return isinstance(value, accepted) and (kind is bool or not isinstance(value, bool))


def _section(section: str, kind: Any, values: dict[str, Any]) -> Any:
    types = typing.get_type_hints(kind)
    if unknown := set(values) - set(types):
        raise ValueError(f"Unknown field {section}.{sorted(unknown)[0]}. Fields of {section}: {', '.join(types)}")
    return kind(**{name: convert(value, types[name], name=f"{section}.{name}") for name, value in values.items()})


def _read_file(file: Path) -> dict[str, dict[str, Any]]:
    try:
        values = json.loads(file.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"--config must be a readable JSON file. Received: {file}: {error}") from error
    if not isinstance(values, dict) or not all(isinstance(fields, dict) for fields in values.values()):
        raise ValueError(f'--config must hold sections, e.g. {{"trainer": {{"epochs": 3}}}}. Received: {file}')
    return values


def _parse_setting(setting: str) -> tuple[str, str, str]:
    key, equals, value = setting.partition("=")
    section, dot, name = key.partition(".")
    if not equals or not dot:
        raise ValueError(f"--set must be section.field=value, e.g. trainer.epochs=3. Received: {setting!r}")
    return section, name, value
