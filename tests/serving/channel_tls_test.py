"""Both clients over TLS and mutual TLS, with certificates by path and by content, against a real server."""

import datetime
import ipaddress
import json

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from serving import query
from serving.client import RetrieverError
from serving.client import Tls

USERS = [{"country": "FR"}]


@pytest.fixture(scope="module")
def expected(toy):
    return toy.retrieve(USERS[0], version=1, k=3)[0]


def _authority(name):
    """A self-signed certificate that may sign others, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    return _certificate(name, key=key, issuer=name, signer=key, is_authority=True), key


def _certificate(name, *, key, issuer, signer, is_authority=False):
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if not is_authority:
        names = [x509.DNSName("retriever.test"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _pem(thing):
    if isinstance(thing, x509.Certificate):
        return thing.public_bytes(serialization.Encoding.PEM)
    form = serialization.PrivateFormat.PKCS8
    return thing.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


@pytest.fixture(scope="module")
def pems(tmp_path_factory):
    """Paths of PEM files: an authority, a server's and a client's certificate and key, and another authority."""
    authority, signer = _authority("authority")
    server_key, client_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    things = {
        "ca": authority,
        "other_ca": _authority("other")[0],
        "server_key": server_key,
        "server": _certificate("server", key=server_key, issuer="authority", signer=signer),
        "client_key": client_key,
        "client": _certificate("client", key=client_key, issuer="authority", signer=signer),
    }
    folder = tmp_path_factory.mktemp("certificates")
    for name, thing in things.items():
        (folder / name).write_bytes(_pem(thing))
    return {name: folder / name for name in things}


@pytest.fixture
def tls_relay(start_relay, pems, request):
    """A relay that wants TLS, and the client's certificate too with a parameter that is true."""
    mutual = getattr(request, "param", False)
    credentials = grpc.ssl_server_credentials(
        [(pems["server_key"].read_bytes(), pems["server"].read_bytes())],
        root_certificates=pems["ca"].read_bytes() if mutual else None,
        require_client_auth=mutual,
    )
    return start_relay(credentials=credentials)


def test_tls_with_the_authority_as_path_or_content(tls_relay, retrieve, pems, expected):
    for ca_cert in (pems["ca"], str(pems["ca"]), pems["ca"].read_bytes()):
        assert retrieve(tls_relay.address, USERS, tls=Tls(ca_cert=ca_cert))[0].item_ids == expected
    named = Tls(ca_cert=pems["ca"], server_name="retriever.test")
    assert retrieve(f"ipv4:{tls_relay.address}", USERS, tls=named)[0].item_ids == expected


def test_server_of_another_authority_or_name_is_not_trusted(tls_relay, retrieve, pems):
    for tls in (Tls(ca_cert=pems["other_ca"]), Tls(), Tls(ca_cert=pems["ca"], server_name="shop.test")):
        with pytest.raises(RetrieverError, match=r"check that the server expects TLS, and the certificates$") as caught:
            retrieve(tls_relay.address, USERS, tls=tls, max_attempts=1)
        assert caught.value.code == "UNAVAILABLE"
    assert tls_relay.seen == []


def test_plain_text_to_a_tls_server_says_so(tls_relay, retrieve):
    with pytest.raises(RetrieverError, match=r"or give tls if it expects that$"):
        retrieve(tls_relay.address, USERS, max_attempts=1)


@pytest.mark.parametrize("tls_relay", [True], indirect=True)
def test_mutual_tls_needs_the_clients_certificate(tls_relay, retrieve, pems, expected):
    mutual = Tls(ca_cert=pems["ca"], client_cert=pems["client"], client_key=pems["client_key"].read_bytes())
    assert retrieve(tls_relay.address, USERS, tls=mutual)[0].item_ids == expected
    with pytest.raises(RetrieverError, match=r"^UNAVAILABLE"):
        retrieve(tls_relay.address, USERS, tls=Tls(ca_cert=pems["ca"]), max_attempts=1)


def test_half_of_a_client_certificate_is_refused():
    with pytest.raises(ValueError, match=r"^mutual TLS needs client_cert and client_key. Received: client_key only$"):
        Tls(client_key=b"key")


@pytest.mark.parametrize("tls_relay", [True], indirect=True)
def test_the_query_command_takes_certificates(tls_relay, pems, expected, tmp_path, capsys):
    features = tmp_path / "features.json"
    features.write_text(json.dumps(USERS))
    flags = [f"--server={tls_relay.address}", f"--features={features}", "--k=3", "--json", f"--ca_cert={pems['ca']}"]
    mutual = [f"--client_cert={pems['client']}", f"--client_key={pems['client_key']}"]
    assert query.main([*flags, *mutual]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["answers"]
    assert [item["item_id"] for item in answer["items"]] == expected
    assert query.main([*flags, "--ca_cert=gone.pem"]) == 1
    assert capsys.readouterr().err == "query: [Errno 2] No such file or directory: 'gone.pem'\n"
    with pytest.raises(SystemExit, match=r"^2$"):
        query.main([*flags, mutual[0]])
    assert "mutual TLS needs client_cert and client_key. Received: client_cert only" in capsys.readouterr().err
