"""The family of errors. A message says what was expected, what was found, and where; a ConfigError also what to do.

MeriloError
├── ConfigError              a person must change a file, an option or an argument
│   └── ProfileError         the same, in a device profile
├── DeviceError              one device, one poll
│   ├── SilentDeviceError    no answer within the timeout
│   ├── AnswerError          an answer that is not the one asked for
│   └── ExceptionAnswerError a Modbus exception code
├── PayloadError             foreign bytes that are not what a topic carries
├── OutboxError              the gateway's store on disk
├── BrokerError              connection, login, refused publish
├── RegistryError            the registry refuses
│   ├── NotFoundError
│   └── ConflictError
└── StoreError               the series store
    ├── StoreUnavailableError  try again later
    └── StoreRefusedError      keep the data, stop, raise an alarm
"""

from __future__ import annotations


class MeriloError(Exception):
    """Everything Merilo raises on purpose."""


class ConfigError(MeriloError):
    """Something a person wrote is wrong.

    Args:
        where: File and place, for example ``gateway.yaml:9:15`` or ``--from``.
        what: What was expected and what was found.
        hint: What to do.
    """

    def __init__(self, where: str, what: str, hint: str = "") -> None:
        self.where = where
        self.what = what
        self.hint = hint
        super().__init__(f"{where}: {what}" + (f". {hint}" if hint else ""))


class ProfileError(ConfigError):
    """A device profile is wrong."""


class DeviceError(MeriloError):
    """One device did not give what one poll asked for."""


class SilentDeviceError(DeviceError):
    """No answer within the timeout."""


class AnswerError(DeviceError):
    """An answer that is not the one asked for: length, unit, function or checksum differ."""


class ExceptionAnswerError(DeviceError):
    """The device answered with a Modbus exception code."""

    def __init__(self, message: str, code: int) -> None:
        self.code = code
        super().__init__(message)


class PayloadError(MeriloError):
    """Foreign bytes that cannot be taken.

    Args:
        reason: Closed code, one of ``merilo.wire.REASONS``; it is counted and shown.
        detail: What was expected and what was found.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class OutboxError(MeriloError):
    """The outbox on disk cannot be used."""


class BrokerError(MeriloError):
    """The broker refuses or cannot be reached."""


class RegistryError(MeriloError):
    """The registry refuses a change."""


class NotFoundError(RegistryError):
    """The registry has no such thing."""


class ConflictError(RegistryError):
    """The registry has another thing in that place."""


class StoreError(MeriloError):
    """The series store did not do what was asked."""


class StoreUnavailableError(StoreError):
    """The store cannot be reached or is overloaded: keep the data and try again.

    Args:
        message: What was asked and what came back.
        retry_after_s: Seconds the store asked to wait, None if it did not say.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class StoreRefusedError(StoreError):
    """Login, permission, missing database or policy: keep the data, stop, raise an alarm."""
