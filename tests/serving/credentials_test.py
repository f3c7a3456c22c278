"""TLS and mutual TLS through real channels, with certificates made here."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from certificates import Authority
from certificates import pem_key
from certificates import ssl_config
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from serving.credentials import server_credentials
from serving.server_flags import ServerFlags

ECHO = "/test.Echo/Echo"


@pytest.fixture(scope="module")
def authority():
    return Authority("ours")


@pytest.fixture(scope="module")
def issued(authority):
    return authority.issue("server")


@pytest.fixture
def write(tmp_path):
    def write(**fields):
        path = tmp_path / "ssl.config"
        path.write_text(ssl_config(**fields))
        return path

    return write


@pytest.fixture
def start():
    """Starts an echo server with the file's credentials and returns its address."""
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: request)
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool, handlers=[grpc.method_handlers_generic_handler("test.Echo", {"Echo": handler})])

        def start(path):
            port = server.add_secure_port("127.0.0.1:0", server_credentials(path))
            server.start()
            return f"127.0.0.1:{port}"

        yield start
        server.stop(None).wait()


def echo(address, credentials):
    with grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address) as channel:
        return channel.unary_unary(ECHO)(b"hello", timeout=5)


def is_refused(address, credentials):
    with pytest.raises(grpc.RpcError) as caught:
        echo(address, credentials)
    return caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_tls_answers_who_trusts_the_authority_and_nobody_else(authority, issued, write, start):
    key, cert = issued
    address = start(write(server_key=key, server_cert=cert))
    assert echo(address, grpc.ssl_channel_credentials(authority.cert.encode())) == b"hello"
    assert is_refused(address, None)
    assert is_refused(address, grpc.ssl_channel_credentials(Authority("other").cert.encode()))


def test_mutual_tls_answers_only_clients_with_a_certificate_of_the_authority(authority, issued, write, start):
    key, cert = issued
    address = start(write(server_key=key, server_cert=cert, custom_ca=authority.cert, client_verify=True))
    root = authority.cert.encode()
    client_key, client_cert = authority.issue("client")
    stranger_key, stranger_cert = Authority("other").issue("client")
    assert echo(address, grpc.ssl_channel_credentials(root, client_key.encode(), client_cert.encode())) == b"hello"
    assert is_refused(address, grpc.ssl_channel_credentials(root))
    assert is_refused(address, grpc.ssl_channel_credentials(root, stranger_key.encode(), stranger_cert.encode()))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"server_key": ""}, "server_key is missing; put the PEM text itself there, with \\n for each line's end"),
        ({"client_verify": True}, "custom_ca is missing; put the PEM text itself there, with \\n for each line's end"),
        ({"server_cert": "/etc/server.crt"}, "server_cert holds no PEM certificate: "),
        ({"custom_ca": "/etc/ca.crt"}, "custom_ca holds no PEM certificate: "),
        ({"server_key": "/etc/server.key"}, "server_key must be the PEM key of server_cert, without a password: "),
    ],
)
def test_error_names_the_file_and_what_is_wrong_with_it(issued, write, changes, text):
    key, cert = issued
    path = write(**({"server_key": key, "server_cert": cert} | changes))
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared
        server_credentials(path)
    assert str(caught.value).startswith(f"{path}: {text}")
    assert "PRIVATE KEY" not in str(caught.value)


def test_key_of_another_certificate_is_refused(authority, issued, write):
    path = write(server_key=authority.issue("other")[0], server_cert=issued[1])
    with pytest.raises(ValueError, match=r"server_key must be the PEM key of server_cert, .*key values mismatch"):
        server_credentials(path)


def test_key_with_a_password_is_refused_without_asking_for_it(issued, write):
    locked = pem_key(ec.generate_private_key(ec.SECP256R1()), serialization.BestAvailableEncryption(b"secret"))
    with pytest.raises(ValueError, match="server_key must be the PEM key of server_cert, without a password: "):
        server_credentials(write(server_key=locked, server_cert=issued[1]))


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1"])
def test_rest_api_without_tls_is_offered_at_loopback_only(tmp_path, write, host):
    flags = {"model_base_path": tmp_path, "ssl_config_file": write(), "rest_api_port": 8501}
    assert ServerFlags(**flags).rest_api_port == 8501
    with pytest.raises(
        ValueError, match=f"the REST API has no TLS: .* Received: --host={host}; leave out --rest_api_port"
    ):
        ServerFlags(host=host, **flags)
