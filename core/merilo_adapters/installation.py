"""Where one installation keeps its things and how its programs reach registry, store and broker.

Everything comes from the environment (``MERILO_…``) or from options that a command passes on; secrets come from files.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from merilo.errors import ConfigError

SYSTEM_DATA = Path("/var/lib/merilo")
ENVIRONMENT_FILE = "merilo.env"
"""In the data folder: how its programs reach broker and store, so that a command there finds them too."""


def data_folder(given: Path | None = None) -> Path:
    """The data folder: the option, else MERILO_DATA, else the usual one."""
    if given is not None:
        return given
    if named := os.environ.get("MERILO_DATA"):
        return Path(named)
    return usual_data_folder()


def usual_data_folder() -> Path:
    """Where commands look when nothing is said: /var/lib/merilo if it can be written, else the user's own."""
    if os.access(SYSTEM_DATA, os.W_OK):
        return SYSTEM_DATA
    home = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(home) / "merilo"


class Installation(BaseSettings):
    """Addresses of one installation."""

    model_config = SettingsConfigDict(env_prefix="MERILO_", extra="ignore", frozen=True)

    data: Path = Field(default_factory=data_folder)
    registry: str = ""
    """Registry URL; empty: SQLite in the data folder."""
    store: str = ""
    """Series store URL; empty: SQLite in the data folder."""
    store_token: SecretStr = SecretStr("")
    store_token_file: Path | None = None
    store_login: str = ""
    """For InfluxDB 1.x with logins."""
    broker: str = "mqtt://127.0.0.1:1883"
    """Addresses, separated by commas."""
    broker_login: str = ""
    broker_password: SecretStr = SecretStr("")
    broker_password_file: Path | None = None
    broker_ca_file: Path | None = None
    clock: str = ""
    """For demonstrations: ``start_ms:real_start_ms:rate``."""

    @property
    def registry_url(self) -> str:
        """Where the registry is."""
        return self.registry or f"sqlite:///{self.data / 'registry.db'}"

    @property
    def store_url(self) -> str:
        """Where series are stored unless a company's record says otherwise."""
        return self.store or f"sqlite:///{self.data / 'store'}"

    @property
    def broker_urls(self) -> tuple[str, ...]:
        """The broker's addresses in the order they are tried."""
        return tuple(url.strip() for url in self.broker.split(",") if url.strip())

    def secret_token(self) -> str:
        """The store's token.

        Raises:
            ConfigError: The file cannot be read.
        """
        return _secret(self.store_token, self.store_token_file, "MERILO_STORE_TOKEN_FILE")

    def secret_password(self) -> str:
        """The broker's password.

        Raises:
            ConfigError: The file cannot be read.
        """
        return _secret(self.broker_password, self.broker_password_file, "MERILO_BROKER_PASSWORD_FILE")


def _secret(value: SecretStr, path: Path | None, name: str) -> str:
    if path is None:
        return value.get_secret_value()
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(
            name, f"expected a readable file, found {error.strerror}: {path}", "Check path and owner"
        ) from None


def installation(data: Path | None = None) -> Installation:
    """This installation, as environment and options say.

    Raises:
        ConfigError: A variable has a value that cannot be.
    """
    try:
        folder = data_folder(data)
        # What this folder's own programs were started with; the environment wins over it.
        found = Installation(data=folder, _env_file=folder / ENVIRONMENT_FILE)  # type: ignore[call-arg]  # pydantic's own
    except ValidationError as error:
        first = error.errors()[0]
        name = "MERILO_" + "_".join(str(part) for part in first["loc"]).upper()
        raise ConfigError(name, f"{first['msg']}, found {str(first['input'])[:80]!r}") from None
    found.data.mkdir(parents=True, exist_ok=True)
    return found
