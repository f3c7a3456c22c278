"""Every bad request over HTTP with its status and text: the table of errors, to be read as one."""

import json

import pytest

DROP = object()
ALL = "country,history_age_days,history_item_id,k"
CLASSIFY, PREDICT = "tensorflow/serving/classify", "tensorflow/serving/predict"
RETRIEVE = {"country": "DE", "history_item_id": ["item-3"], "history_age_days": [1.0], "k": 3}
PREDICTING = "/v1/models/retriever:predict"
DEEP = 100_000


def row(**changes):
    values = {name: value for name, value in (RETRIEVE | changes).items() if value is not DROP}
    return json.dumps({"signature_name": "retrieve", "instances": [values]})


def column(**changes):
    values = {
        name: value for name, value in ({n: [v] for n, v in RETRIEVE.items()} | changes).items() if value is not DROP
    }
    return json.dumps({"signature_name": "retrieve", "inputs": values})


IN_ROW = "Failed to process element: 0 key: {} of 'instances' list. Error: INVALID_ARGUMENT: {}"
NO_LATEST = "Servable not found for request: Latest({})"
OF_REST = {
    # Which model.
    "unknown model": (f"POST {PREDICTING.replace('retriever', 'shoes')}", row(), 404, NO_LATEST.format("shoes")),
    "unknown version": (
        "POST /v1/models/retriever/versions/99:predict",
        row(),
        404,
        "Servable not found for request: Specific(retriever, 99)",
    ),
    "unknown label": (
        "POST /v1/models/retriever/labels/canary:predict",
        row(),
        400,
        "Unrecognized servable version label: canary",
    ),
    "version that is no number": (
        "POST /v1/models/retriever/versions/x:predict",
        row(),
        400,
        "Malformed request: POST /v1/models/retriever/versions/x:predict",
    ),
    "version above 2**63": (
        f"POST /v1/models/retriever/versions/{2**63}:predict",
        row(),
        400,
        f"Failed to convert version: {2**63} to numeric.",
    ),
    "unknown status": ("GET /v1/models/shoes", None, 404, "Could not find any versions of model shoes"),
    "unknown metadata": ("GET /v1/models/shoes/metadata", None, 404, NO_LATEST.format("shoes")),
    "path to the parent": ("POST /v1/models/..:predict", row(), 404, NO_LATEST.format("..")),
    "escaped path": (
        "POST /v1/models/..%2f..%2fetc%2fpasswd:predict",
        row(),
        404,
        NO_LATEST.format("../../etc/passwd"),
    ),
    "name with a zero": ("POST /v1/models/a%00b:predict", row(), 404, NO_LATEST.format("a\0b")),
    "name of 10,000 letters": (f"POST /v1/models/{'n' * 10_000}:predict", row(), 404, NO_LATEST.format("n" * 10_000)),
    # Which method.
    "unknown method": (
        "POST /v1/models/retriever:guess",
        row(),
        400,
        "Malformed request: POST /v1/models/retriever:guess",
    ),
    "read instead of asked": (f"GET {PREDICTING}", None, 400, f"Malformed request: GET {PREDICTING}"),
    "deleted": ("DELETE /v1/models/retriever", None, 400, "Malformed request: DELETE /v1/models/retriever"),
    "no model name": ("GET /v1/models", None, 400, "Missing model name in request."),
    "another path": ("GET /etc/passwd", None, 404, "Unexpected path: /etc/passwd"),
    # What JSON.
    "empty": (f"POST {PREDICTING}", "", 400, "JSON Parse error: The document is empty"),
    "no JSON": (f"POST {PREDICTING}", "instances = 1", 400, "JSON Parse error: Invalid value. at offset: 0"),
    "no object": (f"POST {PREDICTING}", "3", 400, "JSON Value: 3 Is not object"),
    "deep lists": (
        f"POST {PREDICTING}",
        "[" * DEEP,
        400,
        "JSON Parse error: lists or objects are nested too deeply",
    ),
    "deep objects": (
        f"POST {PREDICTING}",
        '{"a":' * DEEP,
        400,
        "JSON Parse error: lists or objects are nested too deeply",
    ),
    "half of a surrogate pair": (
        f"POST {PREDICTING}",
        row(country="\ud83d"),
        400,
        IN_ROW.format("country", "JSON Parse error: The surrogate pair in string is invalid."),
    ),
    "no inputs": (f"POST {PREDICTING}", '{"signature_name": "retrieve"}', 400, "Missing 'inputs' or 'instances' key"),
    "no rows": (
        f"POST {PREDICTING}",
        '{"signature_name": "retrieve", "instances": []}',
        400,
        'JSON Value: {\n    "signature_name": "retrieve",\n    "instances": []\n} No values in \'instances\' array',
    ),
    "both forms": (
        f"POST {PREDICTING}",
        '{"instances": 1, "inputs": 1}',
        400,
        'JSON Value: {\n    "instances": 1,\n    "inputs": 1\n} Not formatted correctly expecting only one of '
        "'inputs' or 'instances' keys to exist ",
    ),
    "signature that is no text": (
        f"POST {PREDICTING}",
        '{"signature_name": 1}',
        400,
        'JSON Value: {\n    "signature_name": 1\n} not formatted correctly. '
        "'signature_name' key must be a string value.",
    ),
    "unknown signature": (
        f"POST {PREDICTING}",
        '{"signature_name": "buy", "instances": [1]}',
        400,
        'Serving signature name: "buy" not found in signature def',
    ),
    # Which inputs.
    "missing input in a row": (
        f"POST {PREDICTING}",
        '{"signature_name": "retrieve", "instances": [{"country": "DE"}]}',
        400,
        'Failed to process element: 0 of \'instances\' list. JSON object: {\n    "country": "DE"\n} '
        f"keys must be equal to: {ALL}",
    ),
    "extra input in a row": (
        f"POST {PREDICTING}",
        row(age=3),
        400,
        IN_ROW.format("age", "JSON object: does not have named input: age"),
    ),
    "missing input in a column": (
        f"POST {PREDICTING}",
        column(k=DROP),
        400,
        "Missing named input: k in 'inputs' object.",
    ),
    "rows that are no objects": (
        f"POST {PREDICTING}",
        '{"signature_name": "retrieve", "instances": [3]}',
        400,
        "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
        "tensorinfo_map",
    ),
    # What is in an input.
    "wrong type": (
        f"POST {PREDICTING}",
        row(k="three"),
        400,
        IN_ROW.format("k", 'JSON Value: "three" Type: String is not of expected type: int32'),
    ),
    "fraction of an integer": (
        f"POST {PREDICTING}",
        column(k=[3.5]),
        400,
        "JSON Value: 3.5 Type: Number is not of expected type: int32",
    ),
    "integer out of range": (
        f"POST {PREDICTING}",
        column(k=[2**31]),
        400,
        f"JSON Value: {2**31} Type: Number is not of expected type: int32",
    ),
    "float out of range": (
        f"POST {PREDICTING}",
        column(history_age_days=[[1e39]]),
        400,
        "Cannot convert JSON value: 1e+39 to float without loss of precision.",
    ),
    "null": (
        f"POST {PREDICTING}",
        column(country=[None]),
        400,
        "JSON Value: null Type: Null is not of expected type: string",
    ),
    "broken base64": (f"POST {PREDICTING}", column(country=[{"b64": "a"}]), 400, "Unable to base64 decode"),
    "ragged lists": (
        f"POST {PREDICTING}",
        column(history_item_id=[["a", "b"], ["a"]]),
        400,
        "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
    ),
    "lists and values mixed": (
        f"POST {PREDICTING}",
        column(country=["a", ["b"]]),
        400,
        "Encountered list at unexpected level: 1 expected < 1",
    ),
    "values and lists mixed": (
        f"POST {PREDICTING}",
        column(country=[["b"], "a"]),
        400,
        'JSON Value: "a" found at incorrect level: 2 in the JSON DOM. Expected at level: 2',
    ),
    "wrong rank": (
        f"POST {PREDICTING}",
        column(history_item_id=["item-3"]),
        400,
        "Input history_item_id must have shape (None, None). Received: (1,)",
    ),
    # Classify and Regress.
    "classify by Predict": (
        "POST /v1/models/retriever:classify",
        '{"signature_name": "retrieve", "examples": [{"x": 1.0}]}',
        400,
        f"Expected classification signature method_name to be {CLASSIFY}. Was: {PREDICT}",
    ),
    "no examples": (
        "POST /v1/models/retriever:regress",
        "{}",
        400,
        "JSON Value: {} When method is classify, key 'examples' is expected and was not found",
    ),
    "example that is no object": (
        "POST /v1/models/retriever:regress",
        '{"examples": [3]}',
        400,
        "Example must be JSON object but got JSON Number",
    ),
    "mixed feature": (
        "POST /v1/models/retriever:regress",
        '{"examples": [{"x": [1, "a"]}]}',
        400,
        "Unexpected element type in feature: x expecting type: int64",
    ),
}


@pytest.mark.parametrize(("target", "body", "status", "text"), OF_REST.values(), ids=OF_REST)
def test_rest_refuses(retriever_server, target, body, status, text):
    answered_status, answer = retriever_server.http(*target.split(" ", 1), body)
    assert (answered_status, json.loads(answer)) == (status, {"error": text})
