"""Commands as they are typed on one machine: with its data folder and the gateway's file where these are not the usual
ones. Paths of this machine are told to whoever sits at it, and to nobody else.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request

from merilo_api.access import is_loopback

GATEWAY_FILE = "gateway.yaml"
_KEPT = ("site.yaml", GATEWAY_FILE)
"""What 'merilo up' and 'merilo demo' write into the data folder: the file that their gateway runs with."""


@dataclass(frozen=True, slots=True)
class Shell:
    """What a command must name."""

    data: str = ""
    """The data folder; empty where commands find it by themselves."""
    gateway_file: str = GATEWAY_FILE

    def typed(self, command: str) -> str:
        """The command with what it must name; a gateway's own command ends with ``-c gateway.yaml``."""
        plain = command.removesuffix(f" -c {GATEWAY_FILE}")
        if plain != command:
            return f"{plain} -c {shlex.quote(self.gateway_file)}"
        if self.data and command.startswith("merilo "):
            return f"merilo --data {shlex.quote(self.data)} {command.removeprefix('merilo ')}"
        return command


Here = Callable[[], Shell]


def shell_at(data: Path, usual: Path) -> Shell:
    """Of an installation whose things lie in this folder, where commands would look into the usual one."""
    file = next((str(data / name) for name in _KEPT if (data / name).exists()), GATEWAY_FILE)
    return Shell("" if data.absolute() == usual.absolute() else str(data.absolute()), file)


def shell_of(request: Request) -> Shell:
    """For whoever asks."""
    here: Here = request.app.state.shell
    return here() if is_loopback(request) else Shell()
