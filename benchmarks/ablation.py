"""Variants of the model on one data set: examples are prepared once, by a run of the pipeline, and each variant is trained on them.

`python -m benchmarks.ablation --source=NAME [--data=PATH] --root=DIR [--variants=default,multi] [--seeds=1,2,3] [--max_steps=300]
[--set=SECTION.FIELD=VALUE ...]`. Recall over the whole catalogue on `eval`, as a run of the pipeline measures it (calibrated, with
bonuses and trends), and on the held-out train rows, a mean over the cutoffs that choose the weights: by these a default may be
chosen, by `eval` not. What is measured is kept in `DIR/ablation.jsonl` and not measured again, so that a command that was cut
goes on; the table is printed and written to `DIR/ablation.md`. Each training is a process of its own.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ablation_variants import DEFAULT
from benchmarks.ablation_variants import VARIANTS

_FILE = "ablation.jsonl"
_TABLE = "ablation.md"
_COLUMNS = [f"{kind} @{k}" for kind in ("all", "new") for k in (10, 100, 1000)]
_OTHERS = ("engagements @100", "held-out all", "held-out new", "train s")
Result = dict[str, Any]


def main() -> None:
    """Trains what is not yet measured, one after the other, and prints the table."""
    flags = _parse()
    flags.root.mkdir(parents=True, exist_ok=True)
    if not (flags.root / "metrics.json").is_file():
        _prepare(flags)
    file = flags.root / _FILE
    asked = [
        {
            "variant": variant,
            "seed": seed,
            "max_steps": flags.max_steps,
            "source": flags.source,
            "rows": flags.rows,
            **({"set": flags.set} if flags.set else {}),
        }
        for seed in flags.seeds
        for variant in flags.variants
    ]
    for number, request in enumerate(asked, 1):
        if _found(read_results(file), request):
            continue
        start_s = time.monotonic()
        result = {**request, **_worker(flags.root, request)}
        with file.open("a") as out:
            out.write(json.dumps(result) + "\n")
        told = (
            result.get("skipped")
            or f"all @100 {result['recall']['all @100']:.4f}, new {result['recall']['new @100']:.4f}"
        )
        name = f"{request['variant']}, seed {request['seed']}"
        print(f"{number} of {len(asked)}: {name}: {told}, {time.monotonic() - start_s:.0f} s", file=sys.stderr)
    done = [result for request in asked if (result := _found(read_results(file), request))]
    text = table(done, title=f"{flags.source}, {flags.max_steps or 'all'} steps, seeds {flags.seeds}")
    (flags.root / _TABLE).write_text(text)
    print(text)


def read_results(file: Path) -> list[Result]:
    """Of complete lines: a run that was killed may have left half a line."""
    lines = file.read_text().split("\n")[:-1] if file.is_file() else []
    return [json.loads(line) for line in lines]


def table(results: Iterable[Result], *, title: str) -> str:
    """Markdown: means over seeds with their standard deviation where there are several.

    Popularity first and, of a simulated market, the best possible; there each recall has its share of that in brackets.
    """
    by_variant: dict[str, list[Result]] = {}
    skipped = []
    for result in results:
        if "skipped" in result:
            skipped.append(f"{result['variant']} ({result['skipped']})")
        else:
            by_variant.setdefault(result["variant"], []).append(result)
    head = [f"{title}", "", "| variant | " + " | ".join((*_COLUMNS, *_OTHERS)) + " |"]
    rows = [head[-1], "|" + "---|" * (len(_COLUMNS) + len(_OTHERS) + 1)]
    first = next(iter(by_variant.values()), [{}])[0]
    for name, key in (("popularity", "popularity"), ("best possible", "best")):
        if key in first:
            rows.append(
                f"| {name} | "
                + " | ".join(f"{first[key][column]:.4f}" for column in _COLUMNS)
                + " |" * (len(_OTHERS) + 1)
            )
    best = first.get("best", {})
    for variant, found in by_variant.items():
        cells = [_cell([result["recall"][column] for result in found], best.get(column)) for column in _COLUMNS]
        engagements = [result["engagements"] for result in found if result["engagements"] is not None]
        held_out = [
            _cell([result["held_out"][place] for result in found if result.get("held_out")]) for place in (0, 1)
        ]
        seconds = f"{np.mean([result['train_s'] for result in found]):.0f}"
        rows.append(f"| {variant} | " + " | ".join([*cells, _cell(engagements), *held_out, seconds]) + " |")
    told = ["", "No different from the default: " + ", ".join(dict.fromkeys(skipped))] if skipped else []
    return "\n".join([*head[:2], *rows, *told, ""])


def _cell(values: list[float], best: float | None = None) -> str:
    if not values:
        return ""
    spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    share = f" ({np.mean(values) / best:.0%})" if best else ""
    return f"{np.mean(values):.4f}{spread}{share}"


def _found(results: list[Result], request: Result) -> Result | None:
    return next((result for result in results if request.items() <= result.items()), None)


def _prepare(flags: argparse.Namespace) -> None:
    """A run with as many steps; what it trains is not used, so that a gate may refuse it."""
    print("Preparing examples by a run of the pipeline", file=sys.stderr)
    command = [sys.executable, "-m", "tfx_pipeline.local_runner", f"--source={flags.source}", f"--root={flags.root}"]
    command += [f"--data={flags.data}"] if flags.data else []
    command += [f"--set=trainer.max_steps={flags.max_steps}"] if flags.max_steps else []
    command += [f"--set={setting}" for setting in flags.set]
    status = subprocess.run(command, check=False).returncode
    if not (flags.root / "metrics.json").is_file():
        ended = f"was killed by signal {-status} (9: for want of memory?)" if status < 0 else f"ended with {status}"
        raise SystemExit(f"The run below {flags.root} {ended} and wrote no metrics.json: see {flags.root / 'logs'}.")


def _worker(root: Path, request: Result) -> Result:
    command = [sys.executable, "-m", "benchmarks.ablation_worker", f"--root={root}", f"--request={json.dumps(request)}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{request} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _variants(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in VARIANTS]:
        raise argparse.ArgumentTypeError(f"must be among {', '.join(VARIANTS)}. Received: {', '.join(unknown)}")
    return names


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=__doc__)
    parser.add_argument("--source", required=True)
    parser.add_argument("--data", help="of the source, where it needs it")
    parser.add_argument(
        "--root", type=Path, required=True, help="of the pipeline's run; a finished one is used as it is"
    )
    parser.add_argument(
        "--variants", type=_variants, default=list(VARIANTS), help=f"default: all, beginning with {DEFAULT}"
    )
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[1])
    parser.add_argument("--max_steps", type=int, default=300, help="of each training; 0: the source's epochs")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.FIELD=VALUE", help="one value; repeatable"
    )
    parser.add_argument("--rows", type=int, default=5_000, help="eval conversions that are ranked, at most")
    return parser.parse_args()


if __name__ == "__main__":
    main()
