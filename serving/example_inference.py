"""Classify, Regress and MultiInference: signatures that take serialized tf.Examples, as TF Serving answers them."""

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis import inference_pb2
from tensorflow_serving.apis import input_pb2
from tensorflow_serving.apis import model_pb2
from tensorflow_serving.apis import regression_pb2

from serving import example_results
from serving import inference
from serving.model_requests import STATUS_BY_NUMBER
from serving.model_requests import RequestError
from serving.model_requests import ServedModels
from serving.model_requests import invalid_argument
from serving.model_requests import model_spec
from serving.saved_model import ServedModel
from serving.signature_plan import SignaturePlan

_CLASSIFY = tf.saved_model.CLASSIFY_METHOD_NAME
_REGRESS = tf.saved_model.REGRESS_METHOD_NAME
_CLASSES = tf.saved_model.CLASSIFY_OUTPUT_CLASSES
_SCORES = tf.saved_model.CLASSIFY_OUTPUT_SCORES


def classify(
    models: ServedModels, request: classification_pb2.ClassificationRequest
) -> classification_pb2.ClassificationResponse:
    """Labels and scores of every example; raises `RequestError`."""
    spec = model_spec(request)
    response = classification_pb2.ClassificationResponse()
    with models.use(spec) as (version, model):
        name = _examples_signature(model, spec)
        _check_classifies(model.plans[name])
        _classify(model, name, serialized_examples(request.input), result=response.result)
        inference.write_model_spec(response.model_spec, spec, version=version)
    return response


def regress(models: ServedModels, request: regression_pb2.RegressionRequest) -> regression_pb2.RegressionResponse:
    """One number for every example; raises `RequestError`."""
    spec = model_spec(request)
    response = regression_pb2.RegressionResponse()
    with models.use(spec) as (version, model):
        name = _examples_signature(model, spec)
        _check_regresses(model.plans[name])
        _regress(model, name, serialized_examples(request.input), result=response.result)
        inference.write_model_spec(response.model_spec, spec, version=version)
    return response


def multi_inference(
    models: ServedModels, request: inference_pb2.MultiInferenceRequest
) -> inference_pb2.MultiInferenceResponse:
    """Several signatures of one model on the same examples; raises `RequestError`."""
    first = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
    response = inference_pb2.MultiInferenceResponse()
    with models.use(_named(first)) as (version, model):
        _check_tasks(model, request)
        examples = serialized_examples(request.input)
        for task in request.tasks:
            name = inference.signature_name(task.model_spec)
            answer = response.results.add()
            inference.write_model_spec(answer.model_spec, task.model_spec, version=version)
            if task.method_name == _CLASSIFY:
                _classify(model, name, examples, result=answer.classification_result)
            else:
                _regress(model, name, examples, result=answer.regression_result)
    return response


def serialized_examples(sent: input_pb2.Input) -> list[bytes]:
    """What is sent, serialized; a context is put before each example, which merges the two when they are parsed."""
    kind = sent.WhichOneof("kind")
    given: Any = getattr(sent, kind) if kind else None
    if given is None or not given.examples:
        raise invalid_argument("Input is empty.")
    context = given.context.SerializeToString() if kind == "example_list_with_context" else b""
    return [context + example.SerializeToString() for example in given.examples]


def _classify(
    model: ServedModel, name: str, examples: list[bytes], *, result: classification_pb2.ClassificationResult
) -> None:
    outputs = _outputs(model, name, examples)
    example_results.write_classifications(
        result,
        classes=outputs.get(tf.saved_model.CLASSIFY_OUTPUT_CLASSES),
        scores=outputs.get(tf.saved_model.CLASSIFY_OUTPUT_SCORES),
        num_examples=len(examples),
    )


def _regress(model: ServedModel, name: str, examples: list[bytes], *, result: regression_pb2.RegressionResult) -> None:
    values = _outputs(model, name, examples)[tf.saved_model.REGRESS_OUTPUTS]
    example_results.write_regressions(result, values=values, num_examples=len(examples))


def _outputs(model: ServedModel, name: str, examples: list[bytes]) -> dict[str, np.ndarray]:
    return inference.run(model, name, {tf.saved_model.CLASSIFY_INPUTS: np.array(examples, object)})


def _named(spec: model_pb2.ModelSpec) -> model_pb2.ModelSpec:
    """`spec`, checked as that of a request."""
    return model_spec(classification_pb2.ClassificationRequest(model_spec=spec))


def _check_tasks(model: ServedModel, request: inference_pb2.MultiInferenceRequest) -> None:
    names: set[str] = set()
    feed_names: set[str] = set()
    for task in request.tasks:
        if not task.model_spec.name:
            raise invalid_argument("Found ModelSpec with an empty model name.")
        if task.model_spec.name != request.tasks[0].model_spec.name:
            raise invalid_argument("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        name = inference.signature_name(task.model_spec)
        if name in names:
            raise invalid_argument(f"Duplicate evaluation of signature: {name}")
        names.add(name)
        if name not in model.plans:
            raise invalid_argument(f"Requested signature not found in model graph: {name}")
        if task.method_name == _CLASSIFY:
            _check_classifies(model.plans[name])
        elif task.method_name == _REGRESS:
            _check_regresses(model.plans[name])
        else:
            text = f"Unsupported signature method_name: {task.method_name}"
            raise RequestError(STATUS_BY_NUMBER[tf.errors.UNIMPLEMENTED], text)
        feed_names.add(model.plans[name].inputs[0].feed_name)
        if len(feed_names) > 1:
            raise invalid_argument("Input tensor must be the same for all Signatures.")


def _examples_signature(model: ServedModel, spec: model_pb2.ModelSpec) -> str:
    name = inference.signature_name(spec)
    if name not in model.plans:
        raise invalid_argument(f"No signature was found with the name: {name}")
    return name


def _check_classifies(plan: SignaturePlan) -> None:
    if plan.method_name != _CLASSIFY:
        text = f"Expected classification signature method_name to be {_CLASSIFY}. Was: {plan.method_name}"
        raise invalid_argument(text)
    _check_takes_examples(plan, kind="classification")
    if len(plan.output_names) not in (1, 2):
        raise invalid_argument(f"Expected one or two output Tensors, found {len(plan.output_names)}")
    if not {_CLASSES, _SCORES} & set(plan.output_names):
        raise _failed_precondition(
            f'Expected classification signature outputs to contain at least one of "{_CLASSES}" or "{_SCORES}". '
            f"Signature was: {plan.definition}"
        )


def _check_regresses(plan: SignaturePlan) -> None:
    if plan.method_name != _REGRESS:
        text = f"Expected regression signature method_name to be {_REGRESS}. Was: {plan.method_name}"
        raise invalid_argument(text)
    _check_takes_examples(plan, kind="regression")
    if len(plan.output_names) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if plan.output_names[0] != tf.saved_model.REGRESS_OUTPUTS:
        raise _failed_precondition(f"No regression outputs found in SignatureDef: {plan.definition}")


def _check_takes_examples(plan: SignaturePlan, *, kind: str) -> None:
    if len(plan.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if plan.inputs[0].name != tf.saved_model.CLASSIFY_INPUTS:
        raise _failed_precondition(f"No {kind} inputs found in SignatureDef: {plan.definition}")


def _failed_precondition(text: str) -> RequestError:
    return RequestError(STATUS_BY_NUMBER[tf.errors.FAILED_PRECONDITION], text)
