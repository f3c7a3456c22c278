"""The metrics of a planted run in which everything was measured."""

import copy

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2 as pb

HOSTILE = "<script>alert('x')</script>\"'>&"


def interval(value, width=0.01):
    return {"value": value, "low": value - width, "high": value + width}


def record(slice_="overall", value="", *, novelty="all", metric="recall@100", model=0.25, change=0.0, **others):
    return {
        **{"task": "conversion", "slice": slice_, "value": value, "novelty": novelty, "metric": metric},
        **{"num_rows": 1234, "num_users": 56, "model": interval(model), "popularity": interval(0.0625)},
        **{"baseline": interval(model - change), "change": interval(change, 0.005)},
        **others,
    }


_SLICES = [
    record(model=0.212345),
    record(metric="mrr", model=0.098765),
    record(novelty="new", model=0.101234),
    record(metric="recall@10", model=0.3456, task="purchase"),
    *(record("surface", name, model=0.2 + n / 32, change=change) for n, (name, change) in enumerate(
        (("home", 0.0), ("mailer", -0.04), (HOSTILE, 0.03))
    )),
    record("surface", "home", novelty="new", model=0.15),
]  # fmt: skip
_METRICS = {
    "pushed_version": "20260101",
    "data": {"source": "tables", "kind": "synthetic", "notice": HOSTILE, "set_aside": {}},
    "model_version": "20260101",
    "index_version": "20260101",
    "num_items": 98765,
    "eval": {
        kind: {
            "num_rows": 1234,
            "model": {"recall@10": 0.111119, "recall@100": 0.22222},
            "popularity": {"recall@10": 0.01, "recall@100": 0.055559},
        }
        for kind in ("all", "new")
    },
    "queries": {"all": {"num_users": 56, "model": {"recall@100": 0.13579}, "popularity": {"recall@100": 0.02468}}},
    "index": {"kind": "scann", "num_queries": 512, "recall@100_of_exact": 0.987654},
    "examples": {
        "counts": {"events.rows": 4321, "dead_letters.events.no_item": 17},
        "period": {"cut_us": 1_577_923_200_000_000, "last_us": 1_578_000_000_000_000},  # 2020-01-02
    },
    "refusals": [],
    "blessed": True,
    "slices": _SLICES,
    "recall_curve": {
        "k": [1, 10, 100],
        "model": [0.1, 0.15, 0.212345],
        "popularity": [0.0, 0.03, 0.0625],
        "baseline": None,
    },
    "retrieved": {
        "k": 100,
        "num_users": 56,
        "model": {
            **{"coverage": 0.4567, "gini": 0.8765, "mean_popularity": 12.3},
            "advertisers": [{"advertiser_id": HOSTILE, "share": 0.125}],
        },
        "popularity": {"coverage": 0.001, "gini": 0.999, "mean_popularity": 321.0, "advertisers": []},
        "baseline": None,
    },
    "baseline": {"model_version": "20251231", "index_version": "20251231"},
    "gates": [
        {
            **{"gate": "min_lift", "slice": "overall", "metric": "recall@100", "value": 0.212345, "bound": 0.0625},
            **{"is_passed": True, "message": "better than popularity"},
        }
    ],
    "samples": [
        {
            "user_id": HOSTILE,
            "history": [{"event": "click", "item_id": "i1", "title": HOSTILE, "category": HOSTILE, "age_days": 2.25}],
            "retrieved": [
                {
                    "item_id": "i2",
                    "title": HOSTILE,
                    "advertiser_id": HOSTILE,
                    "category": "",
                    "score": 1.5,
                    "is_bought": True,
                },
                {"item_id": "i3", "title": "", "advertiser_id": "", "category": "", "score": 0.5, "is_bought": False},
            ],
            "bought": [{"item_id": "i2", "title": HOSTILE}, {"item_id": "i9", "title": "Not found"}],
        }
    ],
    "health": {
        "is_blocked": False,
        "warnings": [{"check": "volume", "subject": HOSTILE, "value": 4.25, "bound": 3.0, "message": HOSTILE}],
        "skew": [
            {"feature": HOSTILE, "splits": ["train", "eval"], "measure": "l_infinity", "value": 0.4321, "bound": 0.1}
        ],
        "drift": [],
        "labels": {
            "conversions_per_day": [{"day": "2020-01-01", "conversions": 8}, {"day": "2020-01-04", "conversions": 4}],
            "top_advertisers": [{"advertiser_id": HOSTILE, "conversions": 12, "recent": 3, "before": 9}],
            "lag_days": {"p50": 0.375},
            "unattributed_share": 0.34567,
            "duplicates_share": 0.0,
            "dead_letters": {HOSTILE: 17},
            "silent_days": 2,
        },
        "drift_against": None,
    },
    "training": {
        **{"total_steps": 20, "num_steps": 20, "every_steps": 10, "temperature": 0.5, "is_finished": True},
        "steps": [
            {
                "step": step,
                "loss": 5.0 - step / 10,
                "loss_conversion": 4.0,
                "loss_engagement": None,
                "learning_rate": 0.25,
            }
            for step in (0, 10, 20)
        ],
        "validations": [
            {
                "step": 0,
                "recall_all": 0.1,
                "recall_new": 0.05,
                "popularity_all": 0.1,
                "popularity_new": 0.05,
                "is_best": True,
            },
            {
                "step": 20,
                "recall_all": 0.2,
                "recall_new": 0.1,
                "popularity_all": 0.1,
                "popularity_new": 0.05,
                "is_best": True,
            },
        ],
    },
    "tuning": {
        **{"k": 100, "num_queries": 56, "target_recall": 0.98, "exact_latency_ms": 0.5078},
        "trials": [
            {"num_searched": 1, "num_reordered": 200, "recall": 0.5432, "latency_ms": 0.1234},
            {"num_searched": 4, "num_reordered": 800, "recall": 0.9876, "latency_ms": 0.2345},
        ],
        "chosen": {"num_searched": 4, "num_reordered": 800, "recall": 0.9876, "latency_ms": 0.2345},
    },
    "versions": {"python": "3.10.13", "tensorflow": "2.16.2"},
    "config": {"examples": {"cut": HOSTILE}, "trainer": {"epochs": 7, "patience": 6}},
}


@pytest.fixture
def metrics():
    """Everything measured; strings that a user's data holds are hostile."""
    return copy.deepcopy(_METRICS)


@pytest.fixture
def planted_record():
    """Builds a record of `slices`."""
    return record


@pytest.fixture
def evaluated(tmp_path):
    """Records, in a root's ML Metadata, an evaluation with its metrics; returns its folder."""
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri = str(tmp_path / "metadata.sqlite")
    config.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    store = mlmd.MetadataStore(config)
    kind = store.put_artifact_type(pb.ArtifactType(name="ModelEvaluation"))

    def put(number, metrics_text):
        folder = tmp_path / f"artifacts/RetrievalEvaluator/evaluation/{number}"
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(metrics_text)
        store.put_artifacts([pb.Artifact(type_id=kind, uri=str(folder))])
        return folder

    return put
