"""API keys: ``merilo_live_<id>_<secret>``. The secret has 200 random bits, so a plain SHA-256 keeps it."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any

import sqlalchemy as sa

from merilo.errors import ConflictError, NotFoundError, RegistryError
from merilo.site import NAME_MAX
from merilo_adapters.registry import companies, tables

SCOPES = ("read:series", "read:reports", "write:measures", "admin")
"""What a key may do; admin includes the others."""
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_ID_CHARACTERS = 10
_SECRET_CHARACTERS = 40
_TEXT = re.compile(f"merilo_live_([{_ALPHABET}]{{{_ID_CHARACTERS}}})_([{_ALPHABET}]{{{_SECRET_CHARACTERS}}})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A program's way into the API."""

    id: str
    company: str | None
    """The one company it may see, None for all."""
    scopes: tuple[str, ...]
    name: str
    created_ms: int
    revoked_ms: int | None = None

    def may(self, scope: str) -> bool:
        """Whether the key carries a scope."""
        return scope in self.scopes or "admin" in self.scopes


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _key(row: Any) -> Key:
    return Key(
        id=row.id,
        company=row.company,
        scopes=tuple(row.scopes.split()),
        name=row.name,
        created_ms=row.created_ms,
        revoked_ms=row.revoked_ms,
    )


def add_key(
    connection: sa.Connection, company: str | None, scopes: tuple[str, ...], name: str, at_ms: int
) -> tuple[Key, str]:
    """Makes a key; gives it and its text, which is shown this once.

    Raises:
        NotFoundError: The company is not there.
        RegistryError: No scope, or an unknown one, or no name.
    """
    if company is not None:
        companies.company(connection, company)
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise RegistryError(f"key scopes: expected some of {', '.join(SCOPES)}, found {', '.join(unknown) or 'none'}")
    if not name.strip() or len(name) > NAME_MAX:
        raise RegistryError(f"key name: expected 1 to {NAME_MAX} characters that say who uses it")
    key_id, secret = _random(_ID_CHARACTERS), _random(_SECRET_CHARACTERS)
    key = Key(id=key_id, company=company, scopes=tuple(dict.fromkeys(scopes)), name=name, created_ms=at_ms)
    connection.execute(
        sa.insert(tables.keys).values(
            id=key_id,
            company=company,
            scopes=" ".join(key.scopes),
            name=name,
            secret_sha256=hashlib.sha256(secret.encode()).hexdigest(),
            created_ms=at_ms,
        )
    )
    return key, f"merilo_live_{key_id}_{secret}"


def check_key(connection: sa.Connection, text: str, now_ms: int) -> Key | None:
    """The key of this text, None if it is none, or revoked by now."""
    parts = _TEXT.fullmatch(text)
    if parts is None:
        return None
    row = connection.execute(sa.select(tables.keys).where(tables.keys.c.id == parts[1])).first()
    stored = row.secret_sha256 if row is not None else "0" * 64  # an unknown id costs the same time
    fits = compare_digest(hashlib.sha256(parts[2].encode()).hexdigest(), stored)
    if row is None or not fits or (row.revoked_ms is not None and row.revoked_ms <= now_ms):
        return None
    return _key(row)


def keys(connection: sa.Connection, company: str | None) -> list[Key]:
    """All keys, or those of one company, by age."""
    query = sa.select(tables.keys).order_by(tables.keys.c.created_ms, tables.keys.c.id)
    if company is not None:
        query = query.where(tables.keys.c.company == company)
    return [_key(row) for row in connection.execute(query)]


def revoke_key(connection: sa.Connection, key_id: str, at_ms: int) -> Key:
    """Takes a key away.

    Raises:
        NotFoundError: There is none of that id.
        ConflictError: It is revoked already.
    """
    row = connection.execute(sa.select(tables.keys).where(tables.keys.c.id == key_id)).first()
    if row is None:
        raise NotFoundError(f"key {key_id[:16]}: the registry has none of that id")
    if row.revoked_ms is not None:
        raise ConflictError(f"key {key_id}: is revoked already")
    connection.execute(sa.update(tables.keys).where(tables.keys.c.id == key_id).values(revoked_ms=at_ms))
    return _key(connection.execute(sa.select(tables.keys).where(tables.keys.c.id == key_id)).one())
