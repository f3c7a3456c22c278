"""The options of dynamic batching, from TF Serving's BatchingParameters file."""

import os
from dataclasses import dataclass
from pathlib import Path

from serving import text_configs


@dataclass(frozen=True)
class BatchingParameters:
    """Names, meanings and defaults are TF Serving's.

    Attributes:
        max_batch_size: Rows that a merged run has at most; a larger request is refused.
        batch_timeout_micros: Microseconds that a batch waits for more requests while a run may start.
        max_enqueued_batches: Batches of one signature and shape that may wait for a run; beyond it requests are refused.
        num_batch_threads: Runs at a time.
        allowed_batch_sizes: Rising sizes to which a batch is padded up, the last `max_batch_size`; empty for any size.
        pad_variable_length_inputs: Whether requests of different widths are merged, the shorter ones padded.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False

    def __post_init__(self) -> None:
        """Raises `ValueError` on a value out of range."""
        for name, least in (
            ("max_batch_size", 1),
            ("batch_timeout_micros", 0),
            ("max_enqueued_batches", 1),
            ("num_batch_threads", 1),
        ):
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"{name} must be {least} or more. Received: {value}")
        sizes = self.allowed_batch_sizes
        if list(sizes) != sorted(set(sizes)) or min(sizes, default=1) < 1:
            raise ValueError(f"allowed_batch_sizes must be positive and rise. Received: {list(sizes)}")
        if sizes and sizes[-1] != self.max_batch_size:
            raise ValueError(
                "Last entry in allowed_batch_sizes must match max_batch_size; "
                f"last entry was {sizes[-1]}; expected {self.max_batch_size}"
            )


def read(path: Path | None) -> BatchingParameters:
    """The parameters in the file `path`, the defaults without one.

    Raises:
        ValueError: What is wrong with the file, which it names.
    """
    if path is None:
        return BatchingParameters()
    message = text_configs.read(path, "BatchingParameters")
    if message.enable_large_batch_splitting.value:
        raise ValueError(
            f"{path}: enable_large_batch_splitting is not offered by this server; leave it out, "
            "and send no request larger than max_batch_size"
        )
    wrapped = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    values = {name: getattr(message, name).value for name in wrapped if message.HasField(name)}
    try:
        return BatchingParameters(
            allowed_batch_sizes=tuple(message.allowed_batch_sizes),
            pad_variable_length_inputs=message.pad_variable_length_inputs,
            **values,
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
