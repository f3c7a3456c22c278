"""What one training step asks of a device, and the least time that a roofline gives it: on paper, for no GPU is needed.

`python -m benchmarks.step_graph --source=NAME --root=DIR [--set=trainer.batch_size=8192 ...]`, of a finished run of the pipeline.
From the step's graph: operations without a kernel for a GPU, and those for whose result's size the host must wait. From one step
that is run operation by operation: multiplications, and bytes if each operation reads its inputs and writes its outputs once. The
defaults of the device are an H100 SXM's: 495 TFLOP/s in TF32, 990 in bfloat16, 3.35 TB/s, and some microseconds for each launch.
"""

import argparse
import collections
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
from tensorflow.python.framework import kernels
from tensorflow.python.framework import op_callbacks

from benchmarks.training_run import training_run
from trainer.config import TrainerConfig
from trainer.inputs import ITEM
from trainer.model import ConversionModel
from trainer.optimizers import optimizers
from trainer.tables import Features

_WAITS = ("Unique", "UniqueWithCounts", "Where", "RaggedRange")
_NO_WORK = ("Const", "Placeholder", "NoOp", "Identity", "IdentityN", "Reshape", "Shape", "Size", "ReadVariableOp")
_ON_GPU = ("GPU", "DEFAULT")


def main() -> None:
    """Prints the step's facts."""
    flags = _parse()
    run = training_run(flags.source, flags.root, flags.set)
    config = run.config
    model = run.model(config)
    model.compile(*optimizers(config, total_steps=1_000_000))
    batch = next(iter(run.batches()))
    del batch["user_id"]
    _tell_graph(model, batch)
    _tell_roofline(model, batch, config, flags)


def _tell_graph(model: ConversionModel, batch: Features) -> None:
    step = tf.function(model.train_step, autograph=False)
    step(batch)  # optimizers make their variables
    nodes = nodes_of(step.get_concrete_function(batch))
    count = sum(node.op not in _NO_WORK for node in nodes)
    waits = collections.Counter(node.op for node in nodes if node.op in _WAITS)
    print(f"graph: {len(nodes):,} nodes, {count:,} of them operations with work")
    print(f"without a kernel for a GPU: {_listed(host_only(nodes))}")
    print(f"the host waits for the result's size: {_listed(waits)}")


def _tell_roofline(model: ConversionModel, batch: Features, config: TrainerConfig, flags: argparse.Namespace) -> None:
    multiplied, moved, count = 0, collections.Counter[str](), 0

    def seen(op_type: str, inputs: Any, attrs: Any, outputs: Any, op_name: Any = None, graph: Any = None) -> None:
        nonlocal multiplied, count
        if graph is not None or op_type in _NO_WORK:
            return
        count += 1
        moved[op_type] += sum(map(_num_bytes, (*inputs, *outputs)))
        if op_type == "MatMul":
            transposed = attrs[attrs.index("transpose_a") + 1]
            multiplied += 2 * int(tf.size(outputs[0])) * int(inputs[0].shape[0 if transposed else 1])

    op_callbacks.add_op_callback(seen)
    try:
        model.train_step(batch)
    finally:
        op_callbacks.remove_op_callback(seen)
    total, rows = sum(moved.values()), int(tf.size(batch[ITEM]))
    peak = flags.bfloat16_tflops if config.mixed_precision else flags.tf32_tflops
    times = {
        "arithmetic": multiplied / (peak * 1e12),
        "memory": total / (flags.bandwidth_tb * 1e12),
        "launches": count * flags.launch_us * 1e-6,
    }
    facts = f"{multiplied / 1e9:.2f} GFLOP in products, {total / 1e9:.2f} GB read and written by {count:,} operations"
    print(f"a step of {rows:,} rows: {facts}")
    print("most bytes: " + ", ".join(f"{name} {number / total:.0%}" for name, number in moved.most_common(6)))
    for name, seconds in times.items():
        print(f"{name:<11} {1e3 * seconds:9.3f} ms  {rows / seconds:14,.0f} examples/s at most")


def nodes_of(function: Any) -> list[Any]:
    """Of a concrete function and of those that it calls."""
    definition = function.graph.as_graph_def()
    return [*definition.node, *(node for inner in definition.library.function for node in inner.node_def)]


def host_only(nodes: list[Any]) -> collections.Counter[str]:
    """Operations without a kernel for a GPU, by name and type."""
    return collections.Counter(_named(node) for node in nodes if not _has_gpu_kernel(node))


def _has_gpu_kernel(node: Any) -> bool:
    """Whether one is registered for the node's types; a kernel may still keep some inputs with the host."""
    found = kernels.get_registered_kernels_for_op(node.op).kernel
    return any(kernel.device_type in _ON_GPU and _fits(kernel, node) for kernel in found)


def _fits(kernel: Any, node: Any) -> bool:
    return all(node.attr[c.name].type in c.allowed_values.list.type for c in kernel.constraint if c.name in node.attr)


def _named(node: Any) -> str:
    kinds = {tf.as_dtype(node.attr[name].type).name for name in ("T", "dtype", "SrcT") if node.attr[name].type}
    return " of ".join((node.op, *sorted(kinds)[:1]))


def _listed(found: collections.Counter[str]) -> str:
    return ", ".join(f"{name} x {number}" for name, number in found.most_common()) or "none"


def _num_bytes(value: Any) -> int:
    is_data = isinstance(value, tf.Tensor) and value.dtype not in (tf.resource, tf.variant, tf.string)
    return int(tf.size(value)) * value.dtype.size if is_data else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step_graph", description=__doc__)
    parser.add_argument("--source", required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    parser.add_argument("--tf32_tflops", type=float, default=495.0)
    parser.add_argument("--bfloat16_tflops", type=float, default=990.0)
    parser.add_argument("--bandwidth_tb", type=float, default=3.35)
    parser.add_argument("--launch_us", type=float, default=4.0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
