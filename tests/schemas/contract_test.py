import json
import sqlite3
import subprocess
import sys
from pathlib import Path

from schemas import contract

ROOT = Path(__file__).resolve().parents[2]
LOADED_BY_CONTRACT = """
import json, sys
before = set(sys.modules)
import schemas.contract
print(json.dumps(sorted({name.split(".")[0] for name in set(sys.modules) - before})))
"""


def test_importing_the_contract_loads_nothing_but_the_standard_library():
    run = subprocess.run([sys.executable, "-c", LOADED_BY_CONTRACT], cwd=ROOT, capture_output=True, check=True)
    assert set(json.loads(run.stdout)) - sys.stdlib_module_names == {"schemas"}


def test_snapshot_schema_is_sql_with_the_promised_tables():
    with sqlite3.connect(":memory:") as database:
        database.executescript(contract.SNAPSHOT_SCHEMA)
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        assert tables == [("items",), ("meta",), ("users",)]
        columns = [row[1] for row in database.execute("PRAGMA table_info(items)")]
        assert columns == ["item_id", "title", "advertiser_id", "category", "price"]


def test_history_inputs_share_the_prefix():
    for name in (contract.HISTORY_ITEM_ID, contract.HISTORY_EVENT, contract.HISTORY_AGE_DAYS):
        assert name.startswith(contract.HISTORY_PREFIX)
    assert contract.MISSING_FLOAT != contract.MISSING_FLOAT  # NaN
