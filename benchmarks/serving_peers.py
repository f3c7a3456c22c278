"""What the model server is compared with, each a process of its own.

    python -m benchmarks.serving_peers echo --response=FILE --num_threads=8
    python -m benchmarks.serving_peers minimal --model=DIR --num_threads=8

`echo` is gRPC alone: it takes bytes and returns the bytes of the file. `minimal` is the Predict that one writes first.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from tfx_pipeline import logs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["echo", "minimal"])
    parser.add_argument("--response", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--num_threads", type=int, required=True)
    flags = parser.parse_args()
    logs.quiet_environment()
    server = grpc.server(ThreadPoolExecutor(max_workers=flags.num_threads))
    if flags.kind == "echo":
        add_echo(server, flags.response.read_bytes())
    else:
        add_minimal(server, flags.model)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"Serving {flags.kind} at 127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


def add_echo(server: grpc.Server, response: bytes) -> None:
    """Answers every Predict with the same bytes, without reading the request."""
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: response)
    handlers = grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", {"Predict": handler})
    server.add_generic_rpc_handlers((handlers,))


def add_minimal(server: grpc.Server, model: Path) -> None:
    """Answers Predict by one call of the signature for each request; checks nothing and serves one version."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    from serving import saved_model

    saved_model.register_scann_ops()
    loaded = tf.saved_model.load(str(model))

    class Minimal(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(  # noqa: N802
            self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
        ) -> predict_pb2.PredictResponse:
            signature = loaded.signatures[request.model_spec.signature_name]
            inputs = {name: tf.constant(tf.make_ndarray(proto)) for name, proto in request.inputs.items()}
            response = predict_pb2.PredictResponse(model_spec=request.model_spec)
            for name, tensor in signature(**inputs).items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(tensor.numpy()))
            return response

    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Minimal(), server)


if __name__ == "__main__":
    main()
