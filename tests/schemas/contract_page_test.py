"""The contract's page: it changes only with its golden file, and its examples run."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from schemas import contract
from schemas import contract_page
from schemas.contract_meanings import meanings
from schemas.contract_model import read_model
from schemas.contract_tables import signature_tables
from serving.model_config import ModelConfig
from serving.model_requests import ServedModels
from serving.prediction_service import PredictionService

GOLDEN = Path(__file__).with_name("contract.golden")
COMMAND = "REGENERATE=1 .venv/bin/python -m pytest tests/schemas/contract_page_test.py -k golden"


@pytest.fixture(scope="module")
def server(planted_retriever, served_model):
    """Address of the embedded server's request path, with the planted retriever."""
    models = ServedModels(lambda path: served_model)
    models.configure([ModelConfig(contract.MODEL_NAME, planted_retriever.folder.parent)])
    models.versions(contract.MODEL_NAME).poll()
    running = grpc.server(ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(models, []), running)
    address = f"127.0.0.1:{running.add_insecure_port('127.0.0.1:0')}"
    running.start()
    yield address
    running.stop(0).wait()


@pytest.fixture(scope="module")
def page(planted_retriever, server):
    return contract_page.page(planted_retriever.folder, server=server, schema_file=None)


def code(page, title):
    """The code block below the heading that begins with a title."""
    (found,) = re.findall(rf"### {re.escape(title)}[^\n]*\n\n```\w+\n(.*?)\n```", page, re.DOTALL)
    return found


def test_the_golden_file_is_the_contract(planted_retriever):
    constants = [f"{name} = {value!r}" for name, value in sorted(vars(contract).items()) if name.isupper()]
    tables = signature_tables(read_model(planted_retriever.folder).signatures, meanings(None))
    found = "\n".join([*constants, "", tables, ""])
    if os.environ.get("REGENERATE"):
        GOLDEN.write_text(found, encoding="utf-8")
    assert found == GOLDEN.read_text(encoding="utf-8"), (
        "The contract changed, and other teams' code stands on it. If that is meant, announce it: a line in CHANGELOG.md "
        f"that says what they must change, and the new golden file by `{COMMAND}`."
    )


def test_the_page_names_versions_and_limits(page, planted_retriever):
    assert page.startswith(f"# Contract of the retriever in `{planted_retriever.folder.name}`\n")
    for row in (
        "| `model_version` | 20260102030405 |",
        "| `index_version` | 20260203040506 |",
        "| items | 24 |",
        "| `k` | 1 to 24; more is lowered to it, and less raised |",
        "| columns of `serving_default` | 24 |",
        "| operations beside TensorFlow's own | none: any TF Serving serves it |",
    ):
        assert row in page.splitlines()
    assert "MISSING_STRING" not in page


def test_every_tensor_of_the_contract_has_a_meaning(page):
    explained = set(re.findall(r"^\| `(\w+)` \|.*\| [^|]{4,} \|$", page, re.MULTILINE))
    assert {name for name in re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)} <= explained
    unknown = re.findall(r"^\| `(\w+)` \|.*a feature that the schema does not explain", page, re.MULTILINE)
    assert set(unknown) == {"own_segment", "own_note", "own_score", "own_vector"}  # in no shipped schema


def test_the_clients_example_gets_the_brute_force_answer(page, planted_retriever):
    found = {}
    exec(code(page, "Python, this project's client"), found)
    item_ids, scores = planted_retriever.best(3)
    assert found["answer"].item_ids == item_ids
    np.testing.assert_allclose(found["answer"].scores, scores, atol=1e-4)
    assert found["answer"][2:4] == ("20260102030405", "20260203040506")


@pytest.mark.parametrize("title", ["Python, TF Serving's stubs", "`tf.saved_model.load` of `retrieve`"])
def test_the_examples_with_tensorflow_get_the_brute_force_answer(page, planted_retriever, title):
    found = {}
    exec(code(page, title), found)
    item_ids, scores = planted_retriever.best(3)
    answer = {name: np.asarray(value) for name, value in found["answer"].items()}
    assert [item_id.decode() for item_id in answer["item_ids"][0]] == item_ids
    np.testing.assert_allclose(answer["scores"][0], scores, atol=1e-4)
    assert answer["index_version"].tolist() == [b"20260203040506"]


def test_the_command_line_gets_the_brute_force_answer(page, planted_retriever, tmp_path):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        code(page, "`saved_model_cli`"), shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    answered = done.stdout.split("Result for output key item_ids:")[1].split("Result for output key")[0]
    item_ids, _ = planted_retriever.best(24)
    assert re.findall(r"b'[^']*'", answered) == [repr(item_id.encode()) for item_id in item_ids]


def test_the_command_takes_the_newest_version_and_says_where_there_is_none(
    planted_retriever, trained, tmp_path, capsys
):
    (tmp_path / "5").mkdir()
    (tmp_path / "37").symlink_to(planted_retriever.folder)
    (tmp_path / "9").symlink_to(planted_retriever.folder)
    assert contract_page.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("# Contract of the retriever in `37`\n")
    assert contract_page.main([str(tmp_path / "5")]) == 2
    assert "error: DIR must be a SavedModel or a folder of versions. Received: " in capsys.readouterr().err
    assert contract_page.main([trained.folder]) == 2
    assert "must have the signature retrieve. Received: embed_query, embed_item, embed_" in capsys.readouterr().err
