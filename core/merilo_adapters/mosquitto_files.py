"""What mosquitto reads: the access list with one block per gateway, and the passwords in its own format.

Nothing here depends on ``%u`` patterns, whose meaning differs between mosquitto 2.0 and 2.1. A client may subscribe to
anything, but only what its block lets it read is delivered.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from hmac import compare_digest
from pathlib import Path

from merilo import topics
from merilo.errors import ConfigError
from merilo.ids import GatewayKey
from merilo.topics import PREFIX

COLLECTOR = "collector"
"""Login of ingest and books."""
MONITOR = "monitor"
"""Login that may read the broker's own figures and nothing else."""
ACL_FILE = "acl"
PASSWORD_FILE = "passwords"  # noqa: S105  (a file's name)
_ITERATIONS = 101
"""What mosquitto_passwd writes. Our passwords have 160 random bits, which no number of iterations makes safer."""
_SALT_BYTES = 12
_HASH_BYTES = 64
PASSWORD_CHARACTERS = 32
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
"""32 characters that nobody confuses when reading one aloud: no l, o, 0, 1."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where mosquitto finds what it needs, and what the collector logs in with."""

    access: Path
    passwords: Path
    collector_password: str
    changed: bool
    """Whether mosquitto must read them again (SIGHUP)."""


@dataclass(frozen=True, slots=True)
class Login:
    """One gateway's way into the broker."""

    name: str
    password_hash: str
    gateway: GatewayKey


def new_password() -> str:
    """160 random bits, readable."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(PASSWORD_CHARACTERS))


def password_hash(password: str, salt: bytes | None = None) -> str:
    """The hash as mosquitto 2.0 stores it: ``$7$<iterations>$<salt>$<PBKDF2-HMAC-SHA512>``.

    Args:
        password: Any text without a line end.
        salt: 12 bytes; random if not given.
    """
    salt = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
    found = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS, _HASH_BYTES)
    return f"$7${_ITERATIONS}${b64encode(salt).decode()}${b64encode(found).decode()}"


def password_fits(password: str, stored: str) -> bool:
    """Whether a stored hash is the password's."""
    try:
        _, kind, iterations, salt, wanted = stored.split("$")
        found = hashlib.pbkdf2_hmac("sha512", password.encode(), b64decode(salt), int(iterations), _HASH_BYTES)
    except ValueError:
        return False
    return kind == "7" and compare_digest(b64encode(found), wanted.encode())


def acl_text(logins: Iterable[Login]) -> str:
    """The access list: collector, monitor, and one block per gateway. Comments stand on lines of their own."""
    lines = ["# Written by merilo from its registry; changes made here are lost.", f"user {COLLECTOR}"]
    lines += [f"topic read {name}" for name in topics.upward_filters()]
    lines += [f"topic write {PREFIX}/+/+/+/ack", f"topic write {PREFIX}/+/+/+/cmd/+"]
    lines += ["", f"user {MONITOR}", "topic read $SYS/#"]
    for login in sorted(logins, key=lambda login: login.gateway):
        gateway = login.gateway
        lines += ["", f"user {login.name}"]
        lines += [f"topic write {topics.build(gateway, channel)}" for channel in topics.UPWARD]
        lines += [f"topic write {topics.build(gateway, 'reply', '+')}"]
        lines += [f"topic read {name}" for name in topics.downward_filters(gateway)]
    return "\n".join(lines) + "\n"


def password_text(logins: Iterable[Login], collector_hash: str) -> str:
    """The password file: one line per login."""
    lines = [f"{COLLECTOR}:{collector_hash}"]
    lines += [f"{login.name}:{login.password_hash}" for login in sorted(logins, key=lambda login: login.name)]
    return "\n".join(lines) + "\n"


def collector_password(data: Path) -> str:
    """The collector's password: made at first use, kept in the data folder, readable by its owner only.

    Raises:
        ConfigError: The file cannot be read or made, or other users can read it.
    """
    file = data / "collector.password"
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _kept_password(file)
    except OSError as error:
        raise ConfigError(
            str(file), f"cannot be made, {error.strerror}", "Give the program a folder it owns"
        ) from error
    password = new_password()
    with os.fdopen(descriptor, "w") as handle:
        handle.write(password + "\n")
        handle.flush()
        os.fsync(handle.fileno())
    return password


def _kept_password(file: Path) -> str:
    try:
        mode = file.stat().st_mode & 0o777
        password = file.read_text().strip()
    except OSError as error:
        raise ConfigError(str(file), f"cannot be read, {error.strerror}", "Run as the user who owns it") from error
    if mode & 0o077:
        raise ConfigError(str(file), f"expected mode 600, found {mode:o}", f"chmod 600 {file}")
    if len(password) < PASSWORD_CHARACTERS:
        raise ConfigError(str(file), "holds no password", "Remove it; a new one is made at the next start")
    return password


def write_files(folder: Path, data: Path, logins: Iterable[Login]) -> Files:
    """Writes access list and password file; a reader sees the old or the new one, never a part.

    Where nothing changed, nothing is written: the collector's line is kept while its hash fits the password.

    Args:
        folder: For both files.
        data: The installation's data folder, which keeps the collector's own password.
        logins: Of all gateways that may log in.

    Raises:
        ConfigError: A folder cannot be written, or the kept password cannot be trusted.
    """
    logins = list(logins)
    password = collector_password(data)
    access, passwords = folder / ACL_FILE, folder / PASSWORD_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        changed = _replace(passwords, password_text(logins, _collector_hash(passwords, password)))
        changed = _replace(access, acl_text(logins)) or changed
    except OSError as error:
        raise ConfigError(str(folder), f"cannot be written, {error.strerror}", "Name a folder of your own") from error
    return Files(access, passwords, password, changed)


def _collector_hash(passwords: Path, password: str) -> str:
    """The collector's stored hash if it is still the password's, else a new one."""
    lines = passwords.read_text().splitlines() if passwords.exists() else []
    for line in lines:
        name, _, stored = line.partition(":")
        if name == COLLECTOR and password_fits(password, stored):
            return stored
    return password_hash(password)


def _replace(file: Path, text: str) -> bool:
    body = text.encode()
    mode = 0o640
    if file.exists():
        if file.read_bytes() == body:
            return False
        mode = file.stat().st_mode & 0o777
    descriptor, draft = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(body)
            handle.flush()
            os.fchmod(handle.fileno(), mode)
            if file.exists() and os.geteuid() == 0:
                os.fchown(handle.fileno(), file.stat().st_uid, file.stat().st_gid)
            os.fsync(handle.fileno())
        os.replace(draft, file)
    except BaseException:
        os.unlink(draft)
        raise
    return True
