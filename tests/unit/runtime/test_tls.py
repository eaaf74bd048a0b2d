"""TLS to the API server: authorities, names and client certificates, on both clients."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rollout import errors
from rollout.api.resources import PODS
from rollout.runtime.client import HttpKube
from rollout.runtime.config import Connection
from rollout.runtime.sync import SyncKube
from tests.unit.runtime.server import Seen, http, serving

DAY = dt.timedelta(days=1)


class Authority:
    """A certificate authority for one test."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-ca")])
        self.pem = self._sign(self.name, self.key, authority=True)

    def issue(self, name: str) -> tuple[bytes, bytes]:
        """(certificate, key) as PEM, for 127.0.0.1 or a DNS name."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return self._sign(subject, key, name=name), private

    def _sign(self, subject: x509.Name, key: Any, *, name: str = "", authority: bool = False) -> bytes:
        now = dt.datetime.now(dt.UTC)  # noqa: TID251 - certificates are about real time
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if name:
            try:
                alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
            except ValueError:
                alternative = x509.DNSName(name)
            builder = builder.add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def server_side(
    authority: Authority, folder: Path, name: str = "127.0.0.1", *, demand: bool = False
) -> ssl.SSLContext:
    certificate, key = authority.issue(name)
    (folder / "server.pem").write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    if demand:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=authority.pem.decode())
    return context


async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
    subject = (writer.get_extra_info("peercert") or {}).get("subject", ())
    writer.write(http(200, {"who": [value for part in subject for _, value in part]}))


@pytest.fixture(params=["http", "sync"])
def ask(request: pytest.FixtureRequest) -> Any:
    async def get(url: str, **settings: Any) -> Any:
        connection = Connection(server=url, source="a test", **settings)
        if request.param == "sync":
            with SyncKube(connection) as blocking:
                return await asyncio.to_thread(blocking.get, PODS, "ns", "a")
        kube = HttpKube(connection)
        try:
            return await kube.get(PODS, "ns", "a")
        finally:
            await kube.close()

    return get


async def test_a_server_of_the_right_authority_is_spoken_to(ask: Any, tmp_path: Path) -> None:
    authority = Authority()
    async with serving(answer, server_side(authority, tmp_path)) as server:
        assert (await ask(server.url, ca=authority.pem))["who"] == []


async def test_a_server_of_another_authority_is_not_and_nothing_was_sent(ask: Any, tmp_path: Path) -> None:
    async with serving(answer, server_side(Authority(), tmp_path)) as server:
        with pytest.raises(errors.Unavailable, match=r"cannot connect.*[Cc]ertificate") as caught:
            await ask(server.url, ca=Authority().pem, token="t")
    assert caught.value.sent is False
    assert server.seen == []


async def test_insecure_takes_any_certificate(ask: Any, tmp_path: Path) -> None:
    async with serving(answer, server_side(Authority(), tmp_path, "elsewhere")) as server:
        assert (await ask(server.url, insecure=True))["kind"] == "Pod"


async def test_another_name_can_be_expected(ask: Any, tmp_path: Path) -> None:
    authority = Authority()
    async with serving(answer, server_side(authority, tmp_path, "kubernetes")) as server:
        assert (await ask(server.url, ca=authority.pem, tls_server_name="kubernetes"))["kind"] == "Pod"
        with pytest.raises(errors.Unavailable):
            await ask(server.url, ca=authority.pem)


async def test_a_client_certificate_says_who_we_are(ask: Any, tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = authority.issue("jane")
    async with serving(answer, server_side(authority, tmp_path, demand=True)) as server:
        found = await ask(server.url, ca=authority.pem, certificate=certificate, key=key)
        assert found["who"] == ["jane"]
        with pytest.raises(errors.Unavailable):
            await ask(server.url, ca=authority.pem)
