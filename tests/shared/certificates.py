"""Keys and certificates for tests of TLS."""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Authority:
    """A certificate authority that issues keys and certificates for 127.0.0.1 as PEM."""

    def __init__(self, name):
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.cert = self._sign(self._name, self._key, is_authority=True)

    def issue(self, name):
        key = ec.generate_private_key(ec.SECP256R1())
        return pem_key(key), self._sign(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]), key)

    def _sign(self, subject, key, *, is_authority=False):
        now = datetime.datetime.now(datetime.timezone.utc)
        day = datetime.timedelta(days=1)
        local = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        builder = x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - day).not_valid_after(now + day).add_extension(local, critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def pem_key(key, encryption=None):
    encryption = encryption or serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, encryption).decode()


def ssl_config(**fields: str | bool) -> str:
    """SSLConfig in text form."""

    def text(value):
        return str(value).lower() if isinstance(value, bool) else '"' + value.replace("\n", "\\n") + '"'

    return "".join(f"{name}: {text(value)}\n" for name, value in fields.items())
