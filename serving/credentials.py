"""TLS and mutual TLS of the gRPC server, from TF Serving's SSLConfig file."""

import ssl
import tempfile
from pathlib import Path

import grpc

from serving import text_configs


def server_credentials(path: Path) -> grpc.ServerCredentials:
    """What to listen with: key, certificate and authority are in the file `path` themselves (PEM), not their paths.

    With `client_verify` a client without a certificate of `custom_ca` is refused.

    Raises:
        ValueError: What is wrong with the file, which it names.
    """
    config = text_configs.read(path, "SSLConfig")
    for field in ("server_key", "server_cert", *(("custom_ca",) if config.client_verify else ())):
        if not getattr(config, field):
            raise ValueError(f"{path}: {field} is missing; put the PEM text itself there, with \\n for each line's end")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for field in ("server_cert", "custom_ca"):
        _check_certificate(context, path, field=field, pem=getattr(config, field))
    _check_key(context, path, key=config.server_key, certificate=config.server_cert)
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )


def _check_certificate(context: ssl.SSLContext, path: Path, *, field: str, pem: str) -> None:
    if not pem:
        return
    try:
        context.load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(f"{path}: {field} holds no PEM certificate: {error}. Received: {_start(pem)}") from error


def _check_key(context: ssl.SSLContext, path: Path, *, key: str, certificate: str) -> None:
    # OpenSSL takes a key from a file only. This one is readable by its owner alone and is gone at once.
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write(f"{key}\n{certificate}\n")
        file.flush()
        try:
            context.load_cert_chain(file.name, password="")
        except ssl.SSLError as error:
            raise ValueError(
                f"{path}: server_key must be the PEM key of server_cert, without a password: {error}"
            ) from error


def _start(pem: str) -> str:
    return repr(pem.strip().partition("\n")[0][:40])
