"""The gRPC server as the flags want it: options, limits, TLS, port and socket."""

from concurrent.futures import ThreadPoolExecutor

import grpc

from serving.credentials import server_credentials
from serving.server_flags import ServerFlags


def build(flags: ServerFlags) -> grpc.Server:
    """A server without services that listens nowhere; raises `ValueError` on options that are none."""
    return grpc.server(
        ThreadPoolExecutor(max_workers=flags.grpc_max_threads),
        options=_options(flags),
        maximum_concurrent_rpcs=flags.max_concurrent_requests or None,
    )


def listen(server: grpc.Server, flags: ServerFlags) -> str:
    """Binds the port, with TLS if the flags name a file for it, and the Unix socket if one is asked for.

    Returns:
        The address with the port that was bound.

    Raises:
        ValueError: The TLS file cannot be used.
        RuntimeError: One of them cannot be bound.
    """
    wanted = f"{flags.host}:{flags.port}"
    credentials = server_credentials(flags.ssl_config_file) if flags.ssl_config_file else None
    try:
        port = server.add_secure_port(wanted, credentials) if credentials else server.add_insecure_port(wanted)
    except RuntimeError as error:
        raise RuntimeError(f"cannot listen at {wanted}; choose another --port: {error}") from error
    if flags.grpc_socket_path:
        server.add_insecure_port(f"unix:{flags.grpc_socket_path}")
    return f"{flags.host}:{port}"


def _options(flags: ServerFlags) -> list[tuple[str, int | str]]:
    """Of the gRPC server; `--grpc_channel_arguments` wins over the others."""
    options: dict[str, int | str] = {
        # Two servers on one port would share its connections: let the second fail.
        "grpc.so_reuseport": 0,
        "grpc.max_receive_message_length": flags.max_request_bytes,
        "grpc.max_send_message_length": -1,
    }
    for argument in filter(None, flags.grpc_channel_arguments.split(",")):
        name, equals, value = argument.partition("=")
        if not (name and equals):
            raise ValueError(f"--grpc_channel_arguments must be name=value,... Received: {argument!r}")
        is_int = value.removeprefix("-").isdecimal() and value.isascii()
        options[name] = int(value) if is_int else value
    return list(options.items())
