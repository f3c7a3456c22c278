"""Copy-paste examples for one retriever: each input that its signatures take, with a value."""

import shlex
from pathlib import Path
from string import Template

from schemas import contract
from schemas.contract_model import ModelFacts
from schemas.contract_model import TensorFacts

_K = 3
_CLIENT = Template("""from serving.client import RetrieverClient

users = [$user]
with RetrieverClient("$server") as client:
    (answer,) = client.retrieve(users, k=$k)
print(answer.model_version, answer.index_version, answer.item_ids, answer.scores)""")
_STUBS = Template("""import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

request = predict_pb2.PredictRequest()
request.model_spec.name = "$model"
request.model_spec.signature_name = "$signature"
inputs = {
$inputs
}
for name, (values, dtype) in inputs.items():
    request.inputs[name].CopyFrom(tf.make_tensor_proto(values, dtype))
with grpc.insecure_channel("$server") as channel:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    response = stub.Predict(request, timeout=5)
answer = {name: tf.make_ndarray(value) for name, value in response.outputs.items()}
print(answer)""")
_LOAD = Template("""import tensorflow as tf
$imports
retriever = tf.saved_model.load("$folder")
inputs = {
$inputs
}
answer = retriever.signatures["$signature"](**{name: tf.constant(*value) for name, value in inputs.items()})
print(answer)""")
_RUN = Template("$cli run --dir $folder --tag_set serve --signature_def $signature \\\n  --input_examples $examples")


def examples(facts: ModelFacts, folder: Path, *, server: str) -> str:
    """Markdown with code for our client, TF Serving's stubs, `saved_model_cli` and `tf.saved_model.load`.

    Args:
        facts: of the SavedModel.
        folder: of the SavedModel.
        server: host:port of a model server's gRPC API.
    """
    retrieve = facts.signatures[contract.SIGNATURE_RETRIEVE]
    user = _user(retrieve.inputs, facts.known_item_id or "ITEM")
    filled = {"server": server, "model": contract.MODEL_NAME, "k": _K, "user": _literal(user), "folder": str(folder)}
    filled |= {"signature": contract.SIGNATURE_RETRIEVE, "inputs": _inputs(retrieve.inputs, user)}
    parts = [
        ("Python, this project's client: fills in what is missing, retries, needs no TensorFlow", "python", _CLIENT),
        ("Python, TF Serving's stubs (`pip install tensorflow-serving-api`)", "python", _STUBS),
    ]
    texts = [_part(title, language, template.substitute(filled)) for title, language, template in parts]
    texts.append(_part("`saved_model_cli`, without a server", "bash", _command_line(facts, folder, user)))
    imports = "".join(f"import {name.lower()}  # registers its operations\n" for name in facts.libraries)
    for name in (contract.SIGNATURE_RETRIEVE, contract.SIGNATURE_RETRIEVE_FILTERED):
        if name in facts.signatures:
            own = {"signature": name, "inputs": _inputs(facts.signatures[name].inputs, user), "imports": imports}
            text = _LOAD.substitute(filled | own)
            texts.append(_part(f"`tf.saved_model.load` of `{name}`, without a server", "python", text))
    return "\n\n".join(texts)


def _part(title: str, language: str, code: str) -> str:
    return f"### {title}\n\n```{language}\n{code}\n```"


def _user(inputs: list[TensorFacts], item_id: str) -> dict[str, list]:
    """A purchase of three days ago, in the history features that the model takes."""
    values: dict[str, list] = {
        contract.HISTORY_ITEM_ID: [item_id],
        contract.HISTORY_EVENT: ["purchase"],
        contract.HISTORY_AGE_DAYS: [3.0],
    }
    names = {tensor.name for tensor in inputs}
    return {name: value for name, value in values.items() if name in names}


def _inputs(tensors: list[TensorFacts], user: dict[str, list]) -> str:
    """Lines of a dict: value for one user, and dtype."""
    return "\n".join(f'    "{tensor.name}": ({_value(tensor, user)}, tf.{tensor.dtype}),' for tensor in tensors)


def _value(tensor: TensorFacts, user: dict[str, list]) -> str:
    if tensor.name in user:
        return _literal([user[tensor.name]])
    if tensor.name == contract.INPUT_K:
        return f"[{_K}]"
    missing = {"string": '""', "float32": 'float("nan")'}.get(tensor.dtype, "0")
    return f"[{missing}]" if len(tensor.shape) == 1 else f"[[{missing}]]"


def _command_line(facts: ModelFacts, folder: Path, user: dict[str, list]) -> str:
    quoted = shlex.quote(str(folder))
    # The console script imports no library whose operations the graph may have.
    code = "".join(f"import {name.lower()}; " for name in facts.libraries)
    code += "from tensorflow.python.tools.saved_model_cli import main; main()"
    cli = f"python -c {shlex.quote(code)}" if facts.libraries else "saved_model_cli"
    given = shlex.quote(f"{contract.INPUT_EXAMPLES}=[{_literal(user)}]")
    return _RUN.substitute(cli=cli, folder=quoted, signature=contract.SIGNATURE_DEFAULT, examples=given)


def _literal(value: object) -> str:
    """Python's own notation with double quotes where it can."""
    return repr(value) if '"' in repr(value) else repr(value).replace("'", '"')
