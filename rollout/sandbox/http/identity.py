"""Who the server is, and who may speak to it: a certificate authority of its own, a server certificate, a token.

All of it lives in the state directory. The authority and the token outlive the process, so that a kubeconfig
stays good over a restart; the server certificate is made anew at each start.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rollout.sandbox.http.private import private_directory, write_private

_AUTHORITY_LIFE = timedelta(days=3650)
_SERVER_LIFE = timedelta(days=397)
_RENEW_BEFORE = timedelta(days=400)
_SLACK = timedelta(minutes=5)  # clocks of machines that share a state directory
_HOSTS = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
_ADDRESSES = ("127.0.0.1", "::1")


class Identity(msgspec.Struct, frozen=True):
    """Files for the TLS listener, the authority's certificate (PEM) for clients, and the bearer token."""

    certificate_file: Path
    key_file: Path
    authority_file: Path
    authority: bytes
    token: str


def load_identity(state: Path, now: datetime) -> Identity:
    """The identity kept in directory `state`, made where it is missing, unreadable or soon over."""
    private_directory(state)
    authority_file, authority_key_file = state / "ca.crt", state / "ca.key"
    authority = _kept_authority(authority_file, authority_key_file, now)
    if authority is None:
        authority = _new_authority(now)
        write_private(authority_key_file, _key_pem(authority[1]))
        write_private(authority_file, _pem(authority[0]))
    certificate, key = _new_server_certificate(*authority, now)
    certificate_file, key_file = state / "server.crt", state / "server.key"
    write_private(key_file, _key_pem(key))
    write_private(certificate_file, _pem(certificate))
    return Identity(certificate_file, key_file, authority_file, _pem(authority[0]), _token(state / "token"))


def _token(path: Path) -> str:
    if path.exists() and len(kept := path.read_text().strip()) >= 32:
        return kept
    token = secrets.token_urlsafe(32)
    write_private(path, token.encode())
    return token


Authority = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def _kept_authority(certificate_file: Path, key_file: Path, now: datetime) -> Authority | None:
    """The authority on disk if it is whole, its parts belong together, and it outlives a server certificate."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        return None
    return (certificate, key) if certificate.not_valid_after_utc - now > _RENEW_BEFORE else None


def _new_authority(now: datetime) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    # A serial in the name keeps two authorities apart in a trust store that has both.
    name = _name(f"surefoot-sandbox-ca-{secrets.token_hex(4)}")
    certificate = (
        _builder(name, name, key, now, _AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def _new_server_certificate(
    authority: x509.Certificate, authority_key: ec.EllipticCurvePrivateKey, now: datetime
) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.DNSName(host) for host in _HOSTS]
    names += [x509.IPAddress(ip_address(address)) for address in _ADDRESSES]
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    certificate = (
        _builder(_name("surefoot-sandbox"), authority.subject, key, now, _SERVER_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(identifier, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return certificate, key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLACK)
        .not_valid_after(now + life)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
