"""The certificates of a test's control plane: one authority, and what it signs for servers and clients."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rollout.runtime.clock import SystemClock

LIFE = timedelta(days=7)


class Pair(NamedTuple):
    """The files of a certificate and of its private key, in PEM."""

    certificate: Path
    key: Path


class Authority:
    """Signs for one control plane, and for a week. Everything it makes lies in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("surefoot-test-ca", ())
        signed = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pair = self._written("ca", signed, self._key)

    def server(self, name: str, hosts: Sequence[str], groups: Sequence[str] = ()) -> Pair:
        """For a server known as `hosts` (names or addresses), which may be a client, too."""
        return self._issue(name, name, groups, hosts)

    def client(self, user: str, groups: Sequence[str] = ()) -> Pair:
        """For a user of the API; Kubernetes reads the common name as user and the organisations as groups."""
        return self._issue(user.replace(":", "-"), user, groups, ())

    def signer(self, name: str) -> Pair:
        """A key pair to sign tokens with (RSA, as the API server publishes it)."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        subject = _name(name, ())
        signed = self._builder(subject, key.public_key()).sign(self._key, hashes.SHA256())
        return self._written(name, signed, key)

    def _issue(self, file: str, user: str, groups: Sequence[str], hosts: Sequence[str]) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]
        builder = self._builder(_name(user, groups), key.public_key()).add_extension(
            x509.ExtendedKeyUsage(uses), critical=False
        )
        if hosts:
            names = x509.SubjectAlternativeName([_host(one) for one in hosts])
            builder = builder.add_extension(names, critical=False)
        return self._written(file, builder.sign(self._key, hashes.SHA256()), key)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey
    ) -> x509.CertificateBuilder:
        now = SystemClock().now()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + LIFE)
        )

    def _written(
        self, file: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    ) -> Pair:
        pair = Pair(self._folder / f"{file}.crt", self._folder / f"{file}.key")
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pair.key.touch(mode=0o600)
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        return pair


def _name(user: str, groups: Sequence[str]) -> x509.Name:
    organisations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, one) for one in groups]
    return x509.Name([*organisations, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)
