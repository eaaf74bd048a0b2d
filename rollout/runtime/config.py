"""Which API server to speak to, and as whom: kubeconfig files and in-cluster credentials.

A small reader of our own for ordinary kubeconfigs (tokens, certificates), because importing the
`kubernetes` package costs a third of a second; `credentials.py` uses that package for exec plugins and auth
providers. Merging and precedence follow
https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from rollout.errors import ConfigError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach one API server as one user. PEM data is inline; `source` says where all of it came from.

    `plugin` is the kubeconfig's user entry when it needs an exec plugin or an auth provider.
    """

    server: str
    source: str
    context: str = ""
    namespace: str = "default"
    ca: bytes | None = None
    insecure: bool = False
    tls_server_name: str = ""
    certificate: bytes | None = None
    key: bytes | None = None
    token: str = ""
    token_file: str = ""
    basic: str = ""
    plugin: dict[str, Any] | None = None
    impersonate: str = ""
    impersonate_groups: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Without secrets: this ends up in logs and tracebacks."""
        return f"Connection(server={self.server!r}, context={self.context!r}, source={self.source!r})"


def load(
    *,
    kubeconfig: str = "",
    context: str = "",
    as_user: str = "",
    as_groups: tuple[str, ...] = (),
    environ: Mapping[str, str] = os.environ,
    service_account: Path = SERVICE_ACCOUNT,
) -> Connection:
    """The connection that kubectl would use: --kubeconfig, else KUBECONFIG, else ~/.kube/config, else in-cluster.

    Raises ConfigError saying which file, which context, and what is there instead.
    """
    if not kubeconfig and not context and not _files(environ) and in_cluster_possible(environ):
        found = in_cluster(environ, service_account)
    else:
        found = from_kubeconfig(kubeconfig=kubeconfig, context=context, environ=environ)
    if not as_user:
        return found
    return msgspec.structs.replace(found, impersonate=as_user, impersonate_groups=as_groups)


# --- in a cluster -----------------------------------------------------------------------------------


def in_cluster_possible(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether we run in a pod that may be given a service account."""
    return bool(environ.get("KUBERNETES_SERVICE_HOST")) and bool(environ.get("KUBERNETES_SERVICE_PORT"))


def in_cluster(environ: Mapping[str, str] = os.environ, folder: Path = SERVICE_ACCOUNT) -> Connection:
    """The pod's service account. Its token is read again and again, because the kubelet rotates it."""
    token, ca = folder / "token", folder / "ca.crt"
    if not token.exists():
        raise ConfigError(
            f"KUBERNETES_SERVICE_HOST is set but {token} does not exist; "
            "does the pod have automountServiceAccountToken: false?"
        )
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ["KUBERNETES_SERVICE_PORT"]
    namespace = folder / "namespace"
    return Connection(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        source=f"the service account in {folder}",
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
        ca=_read(ca, "the cluster's certificate authority"),
        token_file=str(token),
    )


# --- kubeconfig files -------------------------------------------------------------------------------


class _Merged(msgspec.Struct):
    """All kubeconfig files together: the first to name a thing wins. Each entry remembers its file's folder."""

    source: str
    current: str = ""
    clusters: dict[str, tuple[Path, dict[str, Any]]] = {}
    users: dict[str, tuple[Path, dict[str, Any]]] = {}
    contexts: dict[str, tuple[Path, dict[str, Any]]] = {}


def from_kubeconfig(
    *, kubeconfig: str = "", context: str = "", environ: Mapping[str, str] = os.environ
) -> Connection:
    """The connection of one context in kubeconfig files; ConfigError if it cannot be had."""
    merged = _merge(kubeconfig, environ)
    name = context or merged.current
    if not name:
        raise ConfigError(
            f"{merged.source} has no current-context; name one with --context: {_names(merged.contexts)}"
        )
    if name not in merged.contexts:
        raise ConfigError(f"{merged.source} has no context {name!r}; it has {_names(merged.contexts)}")
    where = f"context {name!r} in {merged.source}"
    _, chosen = merged.contexts[name]
    cluster_name, user_name = str(chosen.get("cluster") or ""), str(chosen.get("user") or "")
    if cluster_name not in merged.clusters:
        raise ConfigError(f"{where} names cluster {cluster_name!r}; there is {_names(merged.clusters)}")
    if user_name and user_name not in merged.users:
        raise ConfigError(f"{where} names user {user_name!r}; there is {_names(merged.users)}")
    connection = _cluster(where, *merged.clusters[cluster_name])
    if user_name:
        connection = _user(where, connection, *merged.users[user_name])
    return msgspec.structs.replace(
        connection, source=merged.source, context=name, namespace=str(chosen.get("namespace") or "default")
    )


def contexts(*, kubeconfig: str = "", environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The names of all contexts, sorted; for messages and shell completion."""
    return tuple(sorted(_merge(kubeconfig, environ).contexts))


def _files(environ: Mapping[str, str]) -> list[Path]:
    """The kubeconfig files that exist, in order of precedence."""
    if given := environ.get("KUBECONFIG", ""):
        paths = [Path(part).expanduser() for part in given.split(os.pathsep) if part]
    else:
        home = environ.get("HOME", "")
        paths = [Path(home) / ".kube" / "config"] if home else []
    return [path for path in paths if path.is_file()]


def _merge(kubeconfig: str, environ: Mapping[str, str]) -> _Merged:
    if kubeconfig:
        paths = [Path(kubeconfig).expanduser()]
        if not paths[0].is_file():
            raise ConfigError(f"the kubeconfig file {paths[0]} does not exist")
    else:
        paths = _files(environ)
    if not paths:
        asked = environ.get("KUBECONFIG") or "~/.kube/config"
        raise ConfigError(
            f"no kubeconfig: {asked} does not exist and this is no pod; "
            "name a file with --kubeconfig or KUBECONFIG, or start a cluster with `rollout sandbox up`"
        )
    merged = _Merged(source=", ".join(str(path) for path in paths))
    for path in paths:
        data = _yaml(path)
        merged.current = merged.current or str(data.get("current-context") or "")
        for plural, singular in (("clusters", "cluster"), ("users", "user"), ("contexts", "context")):
            entries: dict[str, tuple[Path, dict[str, Any]]] = getattr(merged, plural)
            for entry in _entries(path, data, plural):
                body = entry.get(singular) or {}
                if not isinstance(body, dict):
                    raise ConfigError(f"{path}: {plural}: {singular} of {entry['name']!r} is not a mapping")
                entries.setdefault(str(entry["name"]), (path.parent.absolute(), body))
    return merged


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        data = yaml.load(_read(path, "the kubeconfig"), Loader=loader)  # noqa: S506 - both loaders are safe
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path} is not a kubeconfig: it holds a {type(data).__name__}, not a mapping")
    return data


def _entries(path: Path, data: dict[str, Any], plural: str) -> list[dict[str, Any]]:
    entries = data.get(plural) or []
    if not isinstance(entries, list) or not all(isinstance(e, dict) and e.get("name") for e in entries):
        raise ConfigError(f"{path}: {plural} must be a list of entries that have a name")
    return entries


def _cluster(where: str, folder: Path, entry: dict[str, Any]) -> Connection:
    server = str(entry.get("server") or "").rstrip("/")
    if not server.startswith(("https://", "http://")):
        raise ConfigError(f"{where}: the cluster's server {server!r} is not an http(s) URL")
    if proxy := entry.get("proxy-url"):
        raise ConfigError(
            f"{where}: proxy-url {proxy!r} is not supported; reach the API server without a proxy"
        )
    insecure = bool(entry.get("insecure-skip-tls-verify"))
    authority = _data_or_file(where, folder, entry, "certificate-authority")
    if insecure and authority:
        raise ConfigError(f"{where}: insecure-skip-tls-verify and a certificate authority exclude each other")
    return Connection(
        server=server,
        source=where,
        ca=authority,
        insecure=insecure,
        tls_server_name=str(entry.get("tls-server-name") or ""),
    )


def _user(where: str, connection: Connection, folder: Path, entry: dict[str, Any]) -> Connection:
    certificate = _data_or_file(where, folder, entry, "client-certificate")
    key = _data_or_file(where, folder, entry, "client-key")
    if (certificate is None) != (key is None):
        missing = "client-key" if key is None else "client-certificate"
        raise ConfigError(f"{where}: the user has half of a client certificate; {missing} is missing")
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    basic = base64.b64encode(f"{username}:{password}".encode()).decode() if username else ""
    token_file = str(entry.get("tokenFile") or "")
    return msgspec.structs.replace(
        connection,
        certificate=certificate,
        key=key,
        # As in client-go: a token file, which may rotate, is preferred to a literal token.
        token="" if token_file else str(entry.get("token") or ""),
        token_file=str(folder / Path(token_file).expanduser()) if token_file else "",
        basic=basic,
        plugin=_absolute(folder, entry) if entry.get("exec") or entry.get("auth-provider") else None,
        impersonate=str(entry.get("as") or ""),
        impersonate_groups=tuple(str(group) for group in entry.get("as-groups") or ()),
    )


def _absolute(folder: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """The user entry with its exec command made absolute where it is a relative path (not a bare name)."""
    plugin = entry.get("exec")
    command = str(plugin.get("command") or "") if isinstance(plugin, dict) else ""
    if isinstance(plugin, dict) and "/" in command:
        return entry | {"exec": plugin | {"command": str(folder / command)}}
    return entry


def _data_or_file(where: str, folder: Path, entry: dict[str, Any], field: str) -> bytes | None:
    """`<field>-data` (base64, preferred) or the content of the file that `<field>` names, or None."""
    if data := entry.get(f"{field}-data"):
        try:
            return base64.b64decode(str(data), validate=True)
        except binascii.Error as error:
            raise ConfigError(f"{where}: {field}-data is not base64: {error}") from error
    if path := entry.get(field):
        return _read(folder / Path(str(path)).expanduser(), f"{field} of {where}")
    return None


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {what}, {path}: {error.strerror}") from error


def _names(entries: Mapping[str, object]) -> str:
    return ", ".join(repr(name) for name in sorted(entries)) or "none at all"
