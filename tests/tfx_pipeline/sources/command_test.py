import dataclasses

import pandas as pd
import pytest

from schemas import tables
from tfx_pipeline.sources import command
from tfx_pipeline.sources.writer import TableWriter


@dataclasses.dataclass(frozen=True)
class Options:
    """What to do.

    Attributes:
        num_rows: rows to write,
            100 % of them; count.
        share: share of the rows, 0..1.
        start: first day, ISO date.
        strict: whether to be strict.
    """

    num_rows: int
    share: float = 0.5
    start: str = "2024-01-01"
    strict: bool = False

    def __post_init__(self):
        if self.num_rows < 1:
            raise ValueError(f"num_rows must be >= 1. Received: {self.num_rows}.")


def _run(received, argv, *, data_required=False):
    return command.run(
        "Says a thing.\n\nMore.", Options, lambda **call: received.append(call), argv, data_required=data_required
    )


def test_flags_become_options(tmp_path):
    received = []
    argv = ["--num_rows=3", "--share=0.25", "--strict", f"--out={tmp_path}", "--data=file.csv"]
    assert _run(received, argv, data_required=True) == 0
    assert received[0]["options"] == Options(num_rows=3, share=0.25, start="2024-01-01", strict=True)
    assert (received[0]["out"], str(received[0]["data"])) == (tmp_path, "file.csv")


def test_data_may_be_left_out_where_it_is_optional():
    received = []
    assert _run(received, ["--num_rows=1", "--out=raw"]) == 0
    assert received[0]["data"] is None


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--out=raw", "--data=f"], "--num_rows"),
        (["--num_rows=1", "--out=raw"], "--data"),
        (["--num_rows=1", "--data=f"], "--out"),
        (["--num_rows=many", "--out=raw", "--data=f"], "invalid int value: 'many'"),
        (["--num_rows=0", "--out=raw", "--data=f"], "num_rows must be >= 1. Received: 0."),
    ],
)
def test_a_wrong_command_line_ends_with_the_reason(argv, said, capsys):
    received = []
    with pytest.raises(SystemExit) as ended:
        _run(received, argv, data_required=True)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert received == []


def test_help_shows_the_fields_lines_and_defaults(capsys):
    with pytest.raises(SystemExit):
        _run([], ["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for text in ("Says a thing.", "rows to write, 100 % of them; count.", "share of the rows, 0..1. (default: 0.5)"):
        assert text in shown


@pytest.mark.parametrize("error", [command.DataError("the file is bad"), FileNotFoundError("the file is bad")])
def test_unusable_data_end_with_status_2_and_the_message(error, capsys):
    def write_tables(**_):
        raise error

    assert command.run("Doc.", Options, write_tables, ["--num_rows=1", "--out=raw"], data_required=False) == 2
    assert capsys.readouterr().err == "error: the file is bad\n"


def test_a_bug_is_not_hidden():
    def write_tables(**_):
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        command.run("Doc.", Options, write_tables, ["--num_rows=1", "--out=raw"], data_required=False)


def test_the_facts_are_summed_up(tmp_path, capsys):
    def write_tables(*, data, out, options):
        with TableWriter(out) as writer:
            writer.write(tables.USERS, pd.DataFrame({"user_id": ["a"] * 1200}))
            writer.write_facts({"notice": "CC BY 4.0", "set_aside": {"bad": 2, "worse": 3}})

    command.run("Doc.", Options, write_tables, ["--num_rows=1", f"--out={tmp_path / 'raw'}"], data_required=False)
    assert "1,200 users; 5 rows set aside; CC BY 4.0" in capsys.readouterr().out  # 2 + 3


def test_find_file_takes_the_file_or_the_only_one_in_the_folder(tmp_path):
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "notes.md").write_text("x")
    assert command.find_file(tmp_path / "a.csv", ["*.csv"]) == tmp_path / "a.csv"
    assert command.find_file(tmp_path, ["*.csv", "*.csv.gz"]) == tmp_path / "a.csv"


def test_find_file_says_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match="Received: --data=None"):
        command.find_file(None, ["*.csv"])
    with pytest.raises(FileNotFoundError, match=r"holds no \*.csv or \*.xlsx"):
        command.find_file(tmp_path, ["*.csv", "*.xlsx"])
    (tmp_path / "a.csv").touch()
    with pytest.raises(command.DataError, match="is empty"):
        command.find_file(tmp_path, ["*.csv"])
    (tmp_path / "b.csv").write_text("x")
    with pytest.raises(command.DataError, match=r"Received: a.csv, b.csv"):
        command.find_file(tmp_path, ["*.csv"])


def test_a_row_is_set_aside_for_its_first_reason():
    rows = pd.DataFrame({"id": ["", "", "c", "d"], "value": [-1, 1, -1, 1]}, index=[7, 8, 9, 9])
    kept, counts = command.set_aside(
        rows, {"no id": rows["id"] == "", "negative": rows["value"] < 0, "never": rows["value"] > 9}
    )
    assert counts == {"no id": 2, "negative": 1, "never": 0}
    assert kept["id"].tolist() == ["d"]


def test_reading_names_the_damaged_file_and_lets_interrupts_pass(tmp_path):
    with (
        pytest.raises(command.DataError, match=r"Received: .*a.csv \(ValueError: torn\)"),
        command.reading(tmp_path / "a.csv"),
    ):
        raise ValueError("torn")
    with pytest.raises(KeyboardInterrupt), command.reading(tmp_path / "a.csv"):
        raise KeyboardInterrupt
