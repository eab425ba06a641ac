"""Profiles from YAML files: the shipped ones, and those of a folder of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from merilo.errors import ConfigError
from merilo.profile import Profile
from merilo.profiles.fields import did_you_mean
from merilo.profiles.parse import NAME, ProfileIssuesError, parse_profile
from merilo_adapters.yaml_file import ConfigErrors, Marked, load_yaml, parse_yaml

SHIPPED = "merilo_profiles"
"""Package whose files ship with the program."""
SUFFIX = ".yaml"


class Listed(NamedTuple):
    """One profile that can be named."""

    name: str
    where: str
    """Folder, or ``shipped``."""


def load_profile(name: str, folders: Sequence[Path] = ()) -> Profile:
    """The profile of that name; a file in one of the folders goes before a shipped one.

    Raises:
        ConfigErrors: There is none, or its file is wrong; every fault is shown at its line.
    """
    if NAME.fullmatch(name) is None:
        raise ConfigError(f"profile {name[:60]!r}", "expected 2 to 48 of a-z, 0-9 and '_'", "see 'merilo profiles'")
    for folder in folders:
        path = folder / f"{name}{SUFFIX}"
        if path.is_file():
            return profile_from(load_yaml(path), name)
    shipped = files(SHIPPED) / f"{name}{SUFFIX}"
    if not shipped.is_file():
        known = [listed.name for listed in list_profiles(folders)]
        hint = did_you_mean(name, known) or f"known: {', '.join(known)}"
        raise ConfigError(f"profile {name!r}", "there is no such profile", hint)
    return profile_from(parse_yaml(shipped.read_bytes(), f"{name}{SUFFIX}"), name)


def list_profiles(folders: Sequence[Path] = ()) -> list[Listed]:
    """All profiles that can be named, by name; one in a folder hides a shipped one."""
    found = {
        entry.name.removesuffix(SUFFIX): "shipped" for entry in files(SHIPPED).iterdir() if entry.name.endswith(SUFFIX)
    }
    for folder in reversed(folders):
        if folder.is_dir():
            found |= {path.stem: str(folder) for path in folder.glob(f"*{SUFFIX}")}
    return [Listed(name, where) for name, where in sorted(found.items())]


def profile_from(marked: Marked, name: str = "") -> Profile:
    """The profile that a file describes.

    Raises:
        ConfigErrors: Every fault of it, at its line.
    """
    try:
        return parse_profile(marked.data, name)
    except ProfileIssuesError as error:
        issues = sorted(error.issues, key=lambda i: marked.mark(i.path, at_key=i.at_key))
        raise ConfigErrors(
            [(marked.where(i.path, at_key=i.at_key), i.message, i.hint) for i in issues],
            [marked.pretty(i.message, i.path, at_key=i.at_key, hint=i.hint) for i in issues],
        ) from error
