"""Labels of a run with planted days and advertisers, as ExampleGen writes them."""

import gzip
import json

from tfx_pipeline.components.example_gen import FACTS_FILE
from tfx_pipeline.examples import label_health

US_PER_DAY = 86_400_000_000
LAST_DAY = 20_000


def write_examples(folder, *, days=None, advertisers=None, lags=(), num_touches=0, counts=None, last_us=None):
    """The files beside the splits; days without conversions are left out.

    Args:
        folder: of the Examples artifact.
        days: `{day: (conversions, users)}`; by default the sum of the advertisers, each conversion by a user of its own.
        advertisers: `{name: {day: conversions}}`.
        lags: `(seconds, conversions)`.
        num_touches: clicks, saves and impressions.
        counts: of ExampleGen.
        last_us: of the events; by default the end of LAST_DAY.
    """
    advertisers = advertisers or {}
    if days is None:
        days = {}
        for of_days in advertisers.values():
            for day, number in of_days.items():
                days[day] = (days.get(day, (0, 0))[0] + number,) * 2
    folder.mkdir(parents=True, exist_ok=True)
    last_us = (LAST_DAY + 1) * US_PER_DAY - 1 if last_us is None else last_us
    facts = {"counts": counts or {}, "period": {"cut_us": 0, "last_us": last_us}}
    (folder / FACTS_FILE).write_text(json.dumps(facts))
    measures = {("day", day): pair for day, pair in days.items() if pair[0]}
    measures |= {("lag", label_health.bucket_of_lag(seconds)): (number, 0) for seconds, number in lags}
    label_health.write_labels(None, {**measures, ("touches", 0): (num_touches, 0)}, str(folder / "labels.json"))
    lines = [
        json.dumps({"advertiser_id": name, "days": [[day, n] for day, n in sorted(of_days.items()) if n]})
        for name, of_days in advertisers.items()
    ]
    (folder / label_health.ADVERTISERS_FOLDER).mkdir(exist_ok=True)
    with gzip.open(folder / label_health.ADVERTISERS_FOLDER / "part-0.jsonl.gz", "wt") as file:
        file.writelines(f"{line}\n" for line in lines)
    return str(folder)


def constant(number, *, recent=None, recent_days=7, length=35):
    """So many conversions on each of the last days, and `recent` on each of the recent ones."""
    days = range(LAST_DAY - length + 1, LAST_DAY + 1)
    return {day: number if recent is None or day <= LAST_DAY - recent_days else recent for day in days}
