"""Kubeconfig files as kubectl reads them, in-cluster credentials, and errors that say where to look."""

import asyncio
import base64
import os
import ssl
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.errors import ConfigError
from rollout.runtime import config
from rollout.runtime.client import HttpKube
from rollout.runtime.clock import SystemClock
from rollout.runtime.config import Connection, contexts, load
from rollout.runtime.credentials import Credentials, Identity, static_identity, tls_context


def write(path: Path, **document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config"} | document))
    return path


def simple(path: Path, name: str = "dev", *, cluster: Any = None, user: Any = None, **context: Any) -> Path:
    return write(
        path,
        **{"current-context": name},
        clusters=[{"name": name, "cluster": {"server": "https://h:6443/"} | (cluster or {})}],
        users=[{"name": name, "user": user or {}}],
        contexts=[{"name": name, "context": {"cluster": name, "user": name} | context}],
    )


def read(path: Path, **options: Any) -> Connection:
    return load(kubeconfig=str(path), environ={}, **options)


def test_the_current_context_is_used(tmp_path: Path) -> None:
    found = read(simple(tmp_path / "c", user={"token": "t0"}, namespace="shop"))
    assert (found.server, found.context, found.namespace, found.token) == (
        "https://h:6443",
        "dev",
        "shop",
        "t0",
    )


def test_the_namespace_is_default_when_the_context_names_none(tmp_path: Path) -> None:
    assert read(simple(tmp_path / "c")).namespace == "default"


def test_files_are_relative_to_the_kubeconfig_and_inline_data_is_preferred(tmp_path: Path) -> None:
    folder = tmp_path / "sub"
    user = {
        "client-certificate": "cert.pem",
        "client-key": "key.pem",
        "client-key-data": base64.b64encode(b"KEY").decode(),
        "tokenFile": "token",
    }
    path = simple(folder / "c", cluster={"certificate-authority": "ca.pem"}, user=user)
    (folder / "ca.pem").write_bytes(b"CA")
    (folder / "cert.pem").write_bytes(b"CERT")
    found = read(path)
    assert (found.ca, found.certificate, found.key) == (b"CA", b"CERT", b"KEY")
    assert found.token_file == str(folder / "token")


def test_of_several_files_the_first_to_name_a_thing_wins(tmp_path: Path) -> None:
    one = simple(tmp_path / "one", "a", user={"token": "1"})
    two = write(
        tmp_path / "two",
        **{"current-context": "b"},
        clusters=[
            {"name": "a", "cluster": {"server": "https://other"}},
            {"name": "b", "cluster": {"server": "https://b"}},
        ],
        users=[{"name": "b", "user": {"token": "2"}}],
        contexts=[{"name": "b", "context": {"cluster": "b", "user": "b"}}],
    )
    environ = {"KUBECONFIG": os.pathsep.join([str(one), str(tmp_path / "absent"), str(two)])}
    assert load(environ=environ).server == "https://h:6443"
    assert load(environ=environ, context="b").token == "2"
    assert contexts(environ=environ) == ("a", "b")


def test_home_is_read_when_nothing_else_is_said(tmp_path: Path) -> None:
    simple(tmp_path / ".kube" / "config", user={"token": "home"})
    assert load(environ={"HOME": str(tmp_path)}).token == "home"


def test_a_kubeconfig_is_preferred_to_the_pods_own_account(tmp_path: Path) -> None:
    simple(tmp_path / ".kube" / "config", user={"token": "home"})
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    assert load(environ={"HOME": str(tmp_path), **pod}).token == "home"


def test_impersonation_is_added(tmp_path: Path) -> None:
    found = read(simple(tmp_path / "c"), as_user="jane", as_groups=("dev",))
    assert (found.impersonate, found.impersonate_groups) == ("jane", ("dev",))


def test_in_a_pod_the_service_account_is_used(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("rotating")
    (tmp_path / "ca.crt").write_bytes(b"CA")
    (tmp_path / "namespace").write_text("surefoot\n")
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    found = load(environ=environ, service_account=tmp_path)
    assert (found.server, found.namespace, found.ca) == ("https://[fd00::1]:443", "surefoot", b"CA")
    assert static_identity(found).authorization == "Bearer rotating"


@pytest.mark.parametrize(
    ("cluster", "user", "said"),
    [
        ({"server": "h:6443"}, {}, "is not an http"),
        ({"proxy-url": "http://p"}, {}, "proxy-url 'http://p' is not supported"),
        ({"certificate-authority-data": "!"}, {}, "certificate-authority-data is not base64"),
        ({"certificate-authority": "nowhere.pem"}, {}, "cannot read .*nowhere.pem: No such file"),
        ({}, {"client-certificate-data": "Q0VSVA=="}, "client-key is missing"),
        (
            {"insecure-skip-tls-verify": True, "certificate-authority-data": "Q0E="},
            {},
            "exclude each other",
        ),
    ],
)
def test_unusable_entries_are_named(tmp_path: Path, cluster: Any, user: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        read(simple(tmp_path / "c", cluster=cluster, user=user))
    assert str(tmp_path / "c") in str(caught.value)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "no current-context; name one with --context: none at all"),
        ({"current-context": "x"}, "no context 'x'; it has none at all"),
        (
            {"current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "c"}}]},
            "names cluster 'c'; there is none",
        ),
        (
            {
                "current-context": "x",
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": "https://h"}}],
                "users": [{"name": "v", "user": {}}],
            },
            "names user 'u'; there is 'v'",
        ),
        ({"clusters": {"a": 1}}, "clusters must be a list"),
    ],
)
def test_missing_entries_are_told_with_what_is_there(tmp_path: Path, document: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read(write(tmp_path / "c", **document))


@pytest.mark.parametrize(
    ("text", "said"), [("a: [", "is not YAML"), ("- 1", "holds a list"), ("", "no current-context")]
)
def test_what_is_no_kubeconfig_is_said(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "c").write_text(text)
    with pytest.raises(ConfigError, match=said):
        read(tmp_path / "c")


def test_no_kubeconfig_at_all_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--kubeconfig or KUBECONFIG, or start a cluster"):
        load(environ={"HOME": str(tmp_path)})
    with pytest.raises(ConfigError, match="does not exist"):
        load(kubeconfig=str(tmp_path / "absent"), environ={})


def test_secrets_do_not_show_in_representations() -> None:
    assert "s3cret" not in repr(Connection(server="https://h", source="x", token="s3cret", key=b"s3cret"))
    assert "s3cret" not in repr(Identity("Bearer s3cret", key=b"s3cret"))


def test_reading_a_plain_kubeconfig_imports_no_kubernetes_package(tmp_path: Path) -> None:
    path = simple(tmp_path / "c", user={"token": "t"})
    program = (
        "import sys; from rollout.runtime.config import load; from rollout.runtime.sync import SyncKube;"
        f"SyncKube(load(kubeconfig={str(path)!r}, environ={{}}));"
        "print([m for m in ('kubernetes', 'aiohttp', 'asyncio', 'httpx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- plugins ----------------------------------------------------------------------------------------


def plugin(tmp_path: Path, script: str) -> Connection:
    program = tmp_path / "bin" / "plugin"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    entry = {
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "bin/plugin", "args": ["login"]}
    }
    return read(simple(tmp_path / "c", user=entry))


CREDENTIAL = """cat <<EOF
{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "from-$1"}}
EOF"""


async def test_an_exec_plugin_is_run_relative_to_its_kubeconfig(tmp_path: Path) -> None:
    identity = await Credentials(plugin(tmp_path, CREDENTIAL), SystemClock()).current()
    assert identity.authorization == "Bearer from-login"


async def test_a_plugin_is_run_once_for_many_requests(tmp_path: Path) -> None:
    counted = plugin(tmp_path, f"echo run >> {tmp_path}/runs\n{CREDENTIAL}")
    kube = HttpKube(counted)
    identities = await asyncio.gather(*(kube._who() for _ in range(5)))
    await kube.close()
    assert {identity.authorization for identity in identities} == {"Bearer from-login"}
    assert (tmp_path / "runs").read_text() == "run\n"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo please log in >&2; exit 3", "please log in"),
        ("echo no json", "failed to decode"),
        (
            'echo \'{"apiVersion": "client.authentication.k8s.io/v1", "kind": "x", "status": {}}\'',
            "neither a token",
        ),
    ],
)
async def test_a_failing_plugin_says_which_context_and_why(tmp_path: Path, script: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"exec plugin of context 'dev' failed(?s:.*){said}"):
        await Credentials(plugin(tmp_path, script), SystemClock()).current()


async def test_a_token_file_is_read_again_after_a_minute(tmp_path: Path) -> None:
    class Hands(SystemClock):
        at = 0.0

        def monotonic(self) -> float:
            return self.at

    clock = Hands()
    (tmp_path / "t").write_text("one")
    credentials = Credentials(
        Connection(server="https://h", source="x", token_file=str(tmp_path / "t")), clock
    )
    assert (await credentials.current()).authorization == "Bearer one"
    (tmp_path / "t").write_text("two")
    clock.at = 59
    assert (await credentials.current()).authorization == "Bearer one"
    clock.at = 60
    assert (await credentials.current()).authorization == "Bearer two"
    (tmp_path / "t").unlink()
    clock.at = 200
    with pytest.raises(ConfigError, match="cannot read the token"):
        await credentials.current()


def test_tls_follows_the_connection() -> None:
    assert tls_context(Connection(server="http://h", source="x"), Identity()) is None
    open_to_all = tls_context(Connection(server="https://h", source="x", insecure=True), Identity())
    assert open_to_all is not None
    assert open_to_all.verify_mode == ssl.CERT_NONE
    strict = tls_context(Connection(server="https://h", source="x"), Identity())
    assert strict is not None
    assert (strict.verify_mode, strict.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_certificates_that_are_none_are_told() -> None:
    with pytest.raises(ConfigError, match="authority of x is not PEM"):
        tls_context(Connection(server="https://h", source="x", ca=b"nonsense"), Identity())
    with pytest.raises(ConfigError, match="client certificate of x is unusable"):
        tls_context(Connection(server="https://h", source="x"), Identity(certificate=b"a", key=b"b"))


def test_the_service_account_without_a_token_says_why(tmp_path: Path) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "h", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(ConfigError, match="automountServiceAccountToken"):
        config.in_cluster(environ, tmp_path)
