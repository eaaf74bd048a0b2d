import ssl
import stat
from base64 import b64decode
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from cryptography import x509

from rollout.errors import SandboxError
from rollout.sandbox.http.identity import load_identity
from rollout.sandbox.http.kubeconfig import kubeconfig, write_kubeconfig

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_authority_and_token_outlive_a_restart_and_the_server_certificate_does_not(tmp_path):
    first = load_identity(tmp_path / "state", NOW)
    certificate = first.certificate_file.read_bytes()
    second = load_identity(tmp_path / "state", NOW + timedelta(days=30))
    assert (second.authority, second.token) == (first.authority, first.token)
    assert second.certificate_file.read_bytes() != certificate


def test_secrets_are_readable_by_their_owner_alone(tmp_path):
    identity = load_identity(tmp_path / "state", NOW)
    assert mode(tmp_path / "state") == 0o700
    for name in ("ca.key", "server.key", "token"):
        assert mode(tmp_path / "state" / name) == 0o600
    assert len(identity.token) >= 32


def test_an_authority_that_ends_soon_is_replaced(tmp_path):
    first = load_identity(tmp_path, NOW)
    later = load_identity(tmp_path, NOW + timedelta(days=3400))
    assert later.authority != first.authority


@pytest.mark.parametrize("name", ["ca.crt", "ca.key"])
def test_a_broken_authority_is_replaced(tmp_path, name):
    first = load_identity(tmp_path, NOW)
    (tmp_path / name).write_text("nonsense")
    assert load_identity(tmp_path, NOW).authority != first.authority


def test_a_key_that_belongs_to_another_authority_is_not_used(tmp_path):
    load_identity(tmp_path / "a", NOW)
    other = load_identity(tmp_path / "b", NOW)
    (tmp_path / "a" / "ca.crt").write_bytes(other.authority)
    assert load_identity(tmp_path / "a", NOW).authority != other.authority


def test_the_server_certificate_is_signed_by_the_authority_for_loopback(tmp_path):
    identity = load_identity(tmp_path, NOW)
    authority = x509.load_pem_x509_certificate(identity.authority)
    certificate = x509.load_pem_x509_certificate(identity.certificate_file.read_bytes())
    certificate.verify_directly_issued_by(authority)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "127.0.0.1" in [str(ip) for ip in names.get_values_for_type(x509.IPAddress)]
    ssl.create_default_context(cadata=identity.authority.decode())


def test_a_state_directory_that_cannot_be_made_is_said_with_a_way_out(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SandboxError, match="--state"):
        load_identity(tmp_path / "file" / "state", NOW)


def test_the_kubeconfig_carries_address_authority_and_token_privately(tmp_path):
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, kubeconfig("https://127.0.0.1:1", b"PEM", "secret"))
    config = yaml.safe_load(path.read_text())
    cluster = config["clusters"][0]["cluster"]
    assert mode(path) == 0o600
    assert cluster["server"] == "https://127.0.0.1:1"
    assert b64decode(cluster["certificate-authority-data"]) == b"PEM"
    assert config["users"][0]["user"] == {"token": "secret"}
    assert config["current-context"] == config["contexts"][0]["name"]
