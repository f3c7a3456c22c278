"""The clients where nothing is installed but what the package without extras asks for, and how long they take to import."""

import contextlib
import importlib.metadata
import json
import re
import subprocess
import sys
import time
from distutils.core import run_setup
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_ASK = """
import asyncio, sys, time
start_s = time.perf_counter()
import serving.aio_client, serving.client, serving.query, serving.wire
serving.wire.message_class("PredictRequest")
import_s = time.perf_counter() - start_s
import json
server, user = sys.argv[1], json.loads(sys.argv[2])
with serving.client.RetrieverClient(server) as client:
    blocking = client.retrieve([user], k=3)[0].item_ids
async def ask():
    async with serving.aio_client.AsyncRetrieverClient(server) as client:
        return (await client.retrieve([user], k=3))[0].item_ids
found = {}
for name in ("tensorflow", "numpy", "tfx", "schemas.tables"):
    try:
        __import__(name)
    except ImportError as error:
        found[name] = str(error)
print(json.dumps({"import_s": import_s, "answers": [blocking, asyncio.run(ask())], "absent": found}))
"""


def _link(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        target.symlink_to(source)


@pytest.fixture(scope="module")
def bare_environment(tmp_path_factory):
    """A folder with the files of the distributions that `setup.py` asks for without extras, and this project's packages."""
    folder = tmp_path_factory.mktemp("bare_environment")
    setup = run_setup(str(ROOT / "setup.py"), stop_after="init")
    names = [re.match(r"[\w-]+", requirement)[0] for requirement in setup.install_requires]
    assert sorted(names) == ["grpcio", "protobuf"]
    for name in names:
        for file in importlib.metadata.files(name):
            _link(file.locate(), folder / file)
    for package in setup.packages:
        for source in (ROOT / package.replace(".", "/")).glob("*.py"):
            _link(source, folder / source.relative_to(ROOT))
    return folder


def test_clients_need_only_what_the_package_without_extras_installs(bare_environment, model_server, toy):
    user = {"country": "DE", "history_item_id": ["item-5"], "history_age_days": [2.0]}
    code = f"import sys; sys.path.append({str(bare_environment)!r}){_ASK}"
    # -I and -S: no site-packages, no PYTHONPATH, no working directory; only the standard library is left.
    command = [sys.executable, "-I", "-S", "-c", code, model_server.address, json.dumps(user)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    seen = json.loads(done.stdout)
    assert seen["answers"] == [toy.retrieve(user, version=1, k=3)[0]] * 2
    assert seen["absent"]["tensorflow"] == "No module named 'tensorflow'"
    assert seen["absent"]["numpy"] == "No module named 'numpy'"
    assert seen["import_s"] < 2


def test_import_is_quick_and_takes_neither_tensorflow_nor_numpy_where_they_are_installed():
    code = (
        "import sys, time; start_s = time.perf_counter(); import serving.client, serving.aio_client, serving.query;"
        "from serving import wire; wire.message_class('PredictRequest')();"
        "print(time.perf_counter() - start_s);"
        "print([name for name in ('tensorflow', 'tensorflow_serving', 'numpy') if name in sys.modules])"
    )
    start_s = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    process_s = time.perf_counter() - start_s
    import_s, heavy = done.stdout.splitlines()
    print(f"importing the clients took {float(import_s):.2f} s, and with Python's own start {process_s:.2f} s")
    assert heavy == "[]"
    assert float(import_s) < 2  # 0.2 s on a quiet machine
