"""The store that an address names."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from merilo.errors import ConfigError
from merilo.ports import SeriesStore, StoreAdmin

ADDRESSES = "sqlite:///relative/folder, sqlite:////absolute/folder, http://host:8086 or https://host"
"""What a person can write."""
INSTALL_HINT = "Install merilo[collector] or merilo[api]"


class Store(SeriesStore, StoreAdmin, Protocol):
    """A series store with its set-up and life signs."""

    def expire(self, company: str, now_ms: int) -> int:
        """Deletes raw rows older than the company's retention where no server does it; the number of deleted rows.

        To be called about once a day.
        """
        ...

    def close(self) -> None:
        """Gives files and connections back; the store can be used again afterwards."""
        ...


def open_store(
    url: str,
    *,
    token: str | None = None,
    username: str | None = None,
    password: str | None = None,
    org: str = "merilo",
) -> Store:
    """The store at this address; nothing is opened or asked before the first call.

    Args:
        url: One of ADDRESSES. Three slashes are a folder relative to the working directory, four an absolute one,
            as in SQLAlchemy's addresses.
        token: API token of an InfluxDB 2.
        username: Login of an InfluxDB 1.
        password: Password of that login.
        org: Organisation of an InfluxDB 2.

    Raises:
        ConfigError: Not such an address, or two kinds of login at once.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        from merilo_adapters.sqlite_store import SqliteStore

        path = unquote(url.removeprefix("sqlite:///"))
        if not url.startswith("sqlite:///") or not path:
            raise ConfigError("store", f"{url!r} names no folder", f"Write {ADDRESSES}")
        return SqliteStore(Path(path))
    if parts.scheme in ("http", "https") and parts.hostname:
        if parts.username is not None or parts.password is not None:
            raise ConfigError("store", "the address holds a login", "Give user name and password beside the address")
        if token is not None and username is not None:
            raise ConfigError("store", "both a token and a user name are given", "InfluxDB 2 takes the token alone")
        try:
            from merilo_adapters.influx_http import Login
            from merilo_adapters.influx_store import InfluxStore
        except ModuleNotFoundError as error:
            raise ConfigError("store", f"{error.name} is not installed", INSTALL_HINT) from error
        return InfluxStore(url, Login(token, username, password), org)
    raise ConfigError("store", f"{url!r} is not an address of a store", f"Write {ADDRESSES}")
