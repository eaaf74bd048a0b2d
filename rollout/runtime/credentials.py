"""What proves who we are: the Authorization header and the TLS context of a connection, kept fresh.

Tokens in files are read again, because kubelets rotate them; exec plugins and auth providers run
through the `kubernetes` package, imported only then.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rollout.errors import ConfigError
from rollout.runtime.config import Connection

if TYPE_CHECKING:  # keeps asyncio out of the command line's start-up
    from rollout.runtime.clock import Clock

TOKEN_FILE_SECONDS = 60.0
"""How long a token read from a file is used before it is read again (client-go's value)."""
EXPIRY_MARGIN = timedelta(seconds=30)


class Identity(msgspec.Struct, frozen=True):
    """What to show the server now. `expires` is when a plugin's credentials end, if it said so."""

    authorization: str = ""
    certificate: bytes | None = None
    key: bytes | None = None
    expires: datetime | None = None

    def __repr__(self) -> str:
        return f"Identity(expires={self.expires})"


def static_identity(connection: Connection) -> Identity:
    """The identity of a connection that needs no plugin. ConfigError if its token file cannot be read."""
    authorization = ""
    if connection.token_file:
        try:
            token = Path(connection.token_file).read_text().strip()
        except OSError as error:
            raise ConfigError(
                f"cannot read the token of {connection.source}, {connection.token_file}: {error.strerror}"
            ) from error
        authorization = f"Bearer {token}"
    elif connection.token:
        authorization = f"Bearer {connection.token}"
    elif connection.basic:
        authorization = f"Basic {connection.basic}"
    return Identity(authorization, connection.certificate, connection.key)


async def plugin_identity(connection: Connection) -> Identity:
    """The identity that the connection's exec plugin or auth provider hands out. ConfigError if it fails."""
    entry = connection.plugin or {}
    from kubernetes.aio.config.config_exception import ConfigException

    try:
        if entry.get("exec"):
            return _exec_identity(await _run_exec(entry))
        return Identity(await _auth_provider(entry), connection.certificate, connection.key)
    except (ConfigException, OSError, ValueError, KeyError) as error:
        what = "exec plugin" if entry.get("exec") else "auth provider"
        raise ConfigError(f"the {what} of context {connection.context!r} failed: {error}") from error


async def _run_exec(entry: dict[str, Any]) -> dict[str, Any]:
    from kubernetes.aio.config.exec_provider import ExecProvider
    from kubernetes.aio.config.kube_config import ConfigNode

    status: dict[str, Any] = await ExecProvider(ConfigNode("exec", entry["exec"])).run()
    return status


def _exec_identity(status: dict[str, Any]) -> Identity:
    """https://kubernetes.io/docs/reference/access-authn-authz/authentication/#input-and-output-formats"""
    token = str(status.get("token") or "")
    certificate, key = status.get("clientCertificateData"), status.get("clientKeyData")
    if not token and not (certificate and key):
        raise ValueError("it returned neither a token nor a client certificate with its key")
    until = status.get("expirationTimestamp")
    return Identity(
        f"Bearer {token}" if token else "",
        certificate.encode() if certificate else None,
        key.encode() if key else None,
        datetime.fromisoformat(until).astimezone(UTC) if until else None,
    )


async def _auth_provider(entry: dict[str, Any]) -> str:
    from kubernetes.aio.client import Configuration
    from kubernetes.aio.config.kube_config import KubeConfigLoader

    name = str((entry.get("auth-provider") or {}).get("name"))
    document = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {}}],
        "users": [{"name": "x", "user": entry}],
    }
    loader = KubeConfigLoader(document, config_base_path=None)
    await loader.load_and_set(Configuration())
    token = str(getattr(loader, "token", "") or "")
    if not token:
        raise ValueError(f"auth provider {name!r} gave no token; use an exec plugin instead")
    return token


class Credentials:
    """The identity of a connection, looked up again when it gets old. For long-lived clients."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._identity: Identity | None = None
        self._until = 0.0

    @property
    def can_change(self) -> bool:
        """Whether looking it up again may give another identity: worth one more try after a 401."""
        return bool(self._connection.plugin or self._connection.token_file)

    def known(self) -> Identity | None:
        """The identity to use now if it need not be looked up."""
        identity = self._identity
        return None if identity is None or self._old(identity) else identity

    async def current(self) -> Identity:
        """The identity to use now. ConfigError if a token file or plugin fails."""
        identity = self.known()
        if identity is None:
            identity = self._identity = await self._look_up()
            self._until = self._clock.monotonic() + TOKEN_FILE_SECONDS
        return identity

    def forget(self) -> None:
        """The server refused it: look it up again before the next request."""
        if self.can_change:
            self._identity = None

    def _old(self, identity: Identity) -> bool:
        if self._connection.token_file and not self._connection.plugin:
            return self._clock.monotonic() >= self._until
        return identity.expires is not None and self._clock.now() >= identity.expires - EXPIRY_MARGIN

    async def _look_up(self) -> Identity:
        if self._connection.plugin:
            return await plugin_identity(self._connection)
        return static_identity(self._connection)


def tls_context(connection: Connection, identity: Identity) -> ssl.SSLContext | None:
    """TLS as the connection asks for it; None for plain http. ConfigError if a certificate is unusable."""
    if not connection.server.startswith("https://"):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if connection.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif connection.ca:
            context.load_verify_locations(cadata=connection.ca.decode("ascii", "replace"))
        else:
            context.load_default_certs()
    except ssl.SSLError as error:
        raise ConfigError(f"the certificate authority of {connection.source} is not PEM: {error}") from error
    if identity.certificate and identity.key:
        _load_client_certificate(context, connection, identity.certificate, identity.key)
    return context


def _load_client_certificate(
    context: ssl.SSLContext, connection: Connection, certificate: bytes, key: bytes
) -> None:
    """The ssl module reads client certificates from files only: a private one, gone again at once."""
    handle, path = tempfile.mkstemp(prefix="surefoot-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(certificate.rstrip() + b"\n" + key)
        context.load_cert_chain(path)
    except ssl.SSLError as error:
        raise ConfigError(f"the client certificate of {connection.source} is unusable: {error}") from error
    finally:
        Path(path).unlink()
