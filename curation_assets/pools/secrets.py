"""Secrets in URIs and settings: found, so that they are refused, and hidden where a text is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

HIDDEN = "***"
REMEDY = (
    "remove them, and set the environment variables that its storage reads, e.g. AWS_ACCESS_KEY_ID, or fsspec's own "
    "configuration"
)
_AUTHORITY = re.compile(r"([\w+.-]*)://([^@\s]*)@")
# In `abfs://container@account.dfs.core.windows.net` the part before the @ names a container.
_CONTAINER_SCHEMES = ("abfs", "abfss", "wasb", "wasbs")
_HOST_AND_PORT = re.compile(r"[^:]*:\d+")
_PARAMETER = re.compile(r"(?<=[?&;#])([\w.-]+)=([^&;#\s'\",}\]]+)")
_CONNECTION = re.compile(r"\b(AccountKey|SharedAccessKey|SharedAccessSignature)=([^;\s'\"]+)", re.IGNORECASE)
_SECRET_NAMES = {"sig", "sas", "key", "pwd", "passwd", "pass", "passphrase", "auth", "authorization", "jwt"}
_SECRET_ENDINGS = (
    "signature", "token", "secret", "password", "credential", "credentials", "apikey", "accesskey", "accesskeyid",
    "accountkey", "secretkey", "privatekey",
)  # fmt: skip
_SHOWN_DEPTH = 12
_SEPARATORS = re.compile(r"[-_.]")


def secret_of(text: str) -> str | None:
    """What kind of secret the URIs of a text hold, in words that do not repeat it; None if they hold none.

    A password may contain slashes, so the search for one does not stop at the first.
    """
    for scheme, before_at in _AUTHORITY.findall(text):
        if _is_login(scheme, before_at):
            return "a user or a password before its host"
    plain = unquote(unquote(text))
    if "://" in plain or "::" in plain:
        for name, _ in _PARAMETER.findall(plain):
            if is_secret_name(name):
                return f"the parameter {name}"
    found = _CONNECTION.search(plain)
    return f"the value of {found[1]}" if found else None


def is_secret_name(name: str) -> bool:
    """Whether a parameter or key of this name holds a secret: sig, X-Amz-Signature, aws_secret_access_key."""
    plain = _SEPARATORS.sub("", name.lower())
    return plain in _SECRET_NAMES or plain.endswith(_SECRET_ENDINGS)


def redacted(text: str) -> str:
    """A text with `***` in place of the secrets of its URIs."""
    text = _AUTHORITY.sub(_without_login, text)
    text = _PARAMETER.sub(_without_value, text)
    text = _CONNECTION.sub(rf"\1={HIDDEN}", text)
    # What is left is encoded, or written in a way that only the search knows.
    return text if secret_of(text.replace(HIDDEN, "")) is None else HIDDEN


def shown(value: Any, depth: int = _SHOWN_DEPTH) -> Any:
    """A value of a settings file, as messages and the report may show it; YAML lets a value hold itself."""
    if isinstance(value, str):
        return redacted(value)
    if not isinstance(value, Mapping | list | tuple):
        return value
    if not depth:
        return "..."
    if isinstance(value, Mapping):
        return {
            name: HIDDEN if is_secret_name(str(name)) and isinstance(part, str) else shown(part, depth - 1)
            for name, part in value.items()
        }
    return [shown(part, depth - 1) for part in value]


def _is_login(scheme: str, before_at: str) -> bool:
    first, slash, _ = before_at.partition("/")
    if slash:
        return ":" in first and not _HOST_AND_PORT.fullmatch(first)
    return bool(before_at) and (scheme not in _CONTAINER_SCHEMES or ":" in before_at)


def _without_login(found: re.Match[str]) -> str:
    return f"{found[1]}://{HIDDEN}@" if _is_login(found[1], found[2]) else found[0]


def _without_value(found: re.Match[str]) -> str:
    return f"{found[1]}={HIDDEN}" if is_secret_name(found[1]) else found[0]
