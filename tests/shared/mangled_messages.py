"""Mangled requests, the same ones for the same random numbers: bytes that are wrong, and tensors that are."""

import random

from tensorflow_serving.apis import predict_pb2

_SIZES = (-(2**63), -1, 0, 1, 2, 3, 255, 2**31, 2**40, 2**62, 2**63 - 1)
_NUMBERS = (-(2**31), -1, 0, 1, 7, 2**31 - 1)
_HUGE_VARINT = b"\xff" * 9 + b"\x01"
_TOO_LONG_VARINT = b"\xff" * 12


def mangled_bytes(message: bytes, generator: random.Random) -> bytes:
    """A message with one to four places mangled."""
    mangled = bytearray(message)
    for _ in range(generator.choice((1, 1, 1, 2, 4))):
        _mangle(mangled, generator)
    if generator.random() < 0.2:
        mangled += message  # fields come twice; the later ones win or are merged
    return bytes(mangled)


def mangled_tensors(request: predict_pb2.PredictRequest, generator: random.Random) -> bytes:
    """A copy of the request whose tensors have random types, shapes and values."""
    copy = predict_pb2.PredictRequest()
    copy.CopyFrom(request)
    for name in generator.sample(sorted(copy.inputs), generator.randint(1, len(copy.inputs))):
        _mangle_tensor(copy.inputs[name], generator)
    return copy.SerializeToString()


def _mangle(message: bytearray, generator: random.Random) -> None:
    start = generator.randrange(len(message) + 1)
    end = min(len(message), start + generator.randint(1, 24))
    kind = generator.randrange(18)
    if kind == 0:
        del message[start:]
    elif kind == 1:
        del message[start:end]
    elif kind == 2:
        message[start:start] = message[start:end] * generator.randint(1, 3)
    elif kind == 3:
        message[start : start + 1] = _HUGE_VARINT
    elif kind == 4:
        message[start : start + 1] = _TOO_LONG_VARINT
    elif message:
        # Lengths stay right, so that most of these can still be decoded; wrong types and field numbers are among them.
        message[min(start, len(message) - 1)] ^= 1 << generator.randrange(8)


def _mangle_tensor(tensor, generator: random.Random) -> None:
    kind = generator.randrange(5)
    if kind == 0:
        tensor.dtype = generator.choice([*range(26), 101, 120, 2**31 - 1])
    elif kind in (1, 2):
        sizes = [generator.choice(_SIZES) for _ in range(generator.randint(0, 4))]
        tensor.tensor_shape.ClearField("dim")
        for size in sizes if kind == 1 else sizes + [1] * 300:
            tensor.tensor_shape.dim.add(size=size)
    elif kind == 3:
        for field in ("string_val", "float_val", "int_val"):
            tensor.ClearField(field)
        if generator.randrange(2):
            tensor.tensor_content = generator.randbytes(generator.randint(0, 40))
        tensor.int64_val.extend(generator.choice(_NUMBERS) for _ in range(3))
    else:
        del tensor.int_val[:]
        tensor.int_val.append(generator.choice(_NUMBERS))
        tensor.tensor_shape.unknown_rank = bool(generator.randrange(2))
