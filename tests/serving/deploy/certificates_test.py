"""Certificates that `certificates.sh` makes, in a real server and clients with and without one."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from deploy_files import DEPLOY

from serving.credentials import server_credentials

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    command = [DEPLOY / "certificates.sh", folder, "DNS:localhost"]
    subprocess.run(command, capture_output=True, timeout=30, check=True)
    return folder


@pytest.fixture(scope="module")
def tls_server(certificates):
    """A server with the credentials of the SSLConfig."""
    credentials = server_credentials(certificates / "ssl_config.pbtxt")
    echo = grpc.unary_unary_rpc_method_handler(lambda request, _: request)
    server = grpc.server(ThreadPoolExecutor(1), [grpc.method_handlers_generic_handler("test", {"Echo": echo})])
    port = server.add_secure_port("localhost:0", credentials)
    server.start()
    yield port
    server.stop(None).wait()


@pytest.mark.parametrize(
    ("host", "names", "code"),
    [
        ("localhost", ("ca.crt", "client.key", "client.crt"), "OK"),
        ("localhost", ("ca.crt", "server.key", "server.crt"), "UNAVAILABLE"),  # a server's certificate is no client's
        ("localhost", ("ca.crt",), "UNAVAILABLE"),
        ("127.0.0.1", ("ca.crt", "client.key", "client.crt"), "UNAVAILABLE"),  # not among the names it was made for
    ],
)
def test_certificates_let_in_those_who_have_one(certificates, tls_server, host, names, code):
    credentials = grpc.ssl_channel_credentials(*((certificates / name).read_bytes() for name in names))
    with grpc.secure_channel(f"{host}:{tls_server}", credentials) as channel:
        call = channel.unary_unary("/test/Echo").future(b"hello", timeout=10)
        assert call.code().name == code
    if code == "OK":
        assert call.result() == b"hello"


def test_keys_are_for_their_owner_only(certificates):
    assert {path.stat().st_mode & 0o077 for path in certificates.iterdir()} == {0}
