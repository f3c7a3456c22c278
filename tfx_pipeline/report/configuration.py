"""The section of the configuration: every value, with what the defaults say where it differs."""

from typing import Any
from typing import NamedTuple

from tfx_pipeline.configs import RunConfig


class Setting(NamedTuple):
    """One field; `default` is "" where the value is the default's, or where there is none."""

    name: str
    value: str
    default: str


def settings(config: dict[str, Any]) -> dict[str, list[Setting]]:
    """By section, of a `metrics.json`."""
    defaults = RunConfig().to_dict()
    return {
        section: [_setting(name, value, defaults.get(section, {})) for name, value in values.items()]
        for section, values in config.items()
        if isinstance(values, dict) and values
    }


def flat(config: dict[str, Any]) -> dict[str, Any]:
    """Values by `section.field`."""
    return {
        f"{section}.{name}": value
        for section, values in config.items()
        if isinstance(values, dict)
        for name, value in values.items()
    }


def _setting(name: str, value: Any, defaults: dict[str, Any]) -> Setting:
    shown = _plain(value)
    default = _plain(defaults[name]) if name in defaults else shown
    return Setting(name, shown, "" if default == shown else default or '""')


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
