from pathlib import Path

from tfx_pipeline.report.summary import summary


def recalls(model, popularity, **number):
    names = ("recall@10", "recall@100", "recall@1000")
    return {
        **number,
        "model": dict(zip(names, model, strict=True)),
        "popularity": dict(zip(names, popularity, strict=True)),
    }


def metrics(num_with_history):
    users = recalls((0.1, 0.25, 0.5), (0.0, 0.125, 0.4), num_users=3)
    return {
        "pushed_version": "7",
        "num_items": 1234,
        "index": {"kind": "exact"},
        "data": {"source": "tables", "kind": "", "notice": ""},
        "seconds": {"Transform": 2.4, "HealthGate": 0.1, "Trainer": 6.0},
        "eval": {
            "all": recalls((0.2, 0.5, 1.0), (0.1, 0.2, 0.9), num_rows=1500),
            "new": recalls((None,) * 3, (None,) * 3, num_rows=0),
        },
        "queries": {"all": users, "all_with_history": {**users, "num_users": num_with_history}},
    }


def test_the_summary_is_a_table_of_recall():
    lines = summary(metrics(2), seconds=12.3, root=Path("run")).splitlines()
    assert lines[1] == "Pushed version 7 to run/serving in 12 s (1,234 items, index exact)"
    assert lines[2] == "Data: tables (brought by the user)"
    found = [" ".join(line.split()) for line in lines[4:-3]]
    assert found == [
        "recall over the whole catalogue @10 @100 @1000",
        "eval, each conversion, all (1,500): model 0.200 0.500 1.000",
        "eval, each conversion, all (1,500): popularity 0.100 0.200 0.900",
        "eval, each conversion, new (0): model none none none",
        "eval, each conversion, new (0): popularity none none none",
        "queries, mean of users, all (3): model 0.100 0.250 0.500",
        "queries, mean of users, all (3): popularity 0.000 0.125 0.400",
        "queries, mean of users, all with history (2): model 0.100 0.250 0.500",
        "queries, mean of users, all with history (2): popularity 0.000 0.125 0.400",
    ]
    assert len({len(line) for line in lines[4:-3]}) == 1
    # 12.3 in all, less 6.0 and 2.4; what takes less than a second is not named.
    assert lines[-3:] == ["", "Time [s]: Trainer 6, Transform 2, all else 4", "Report: run/report/index.html"]


def test_where_all_users_have_a_history_it_is_not_said_twice():
    assert "with history" not in summary(metrics(3), seconds=12.3, root=Path("run"))
