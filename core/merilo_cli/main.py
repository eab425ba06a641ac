"""The one command ``merilo``: a tree by noun. A noun's code is loaded when the noun is used, not before.

Exit codes: 0 ok, 1 a finding, a failed check or a refusal, 2 usage, 3 invalid configuration, 4 device, broker, store or
registry not reachable, 5 partly done, 130 interrupted.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated, Any, NoReturn

import typer

from merilo.errors import ConfigError, MeriloError

EXIT_REFUSED, EXIT_USAGE, EXIT_CONFIG, EXIT_UNREACHABLE, EXIT_INTERRUPTED = 1, 2, 3, 4, 130
_EXIT_OF = {
    "ArgumentError": EXIT_USAGE,
    "ConfigError": EXIT_CONFIG,
    "BrokerError": EXIT_UNREACHABLE,
    "DeviceError": EXIT_UNREACHABLE,
    "OutboxError": EXIT_UNREACHABLE,
    "RegistryUnavailableError": EXIT_UNREACHABLE,
    "StoreError": EXIT_UNREACHABLE,
}
"""By the name of an error's class or of one it derives from, the nearest first: no adapter is loaded to know them."""

GROUP = "merilo.commands"
"""Entry points through which packages add their nouns."""


@dataclass(frozen=True, slots=True)
class Noun:
    """A noun this package brings itself."""

    target: str
    """``module:attribute``, a Typer app or a function."""
    help: str
    extra: str = "collector"
    """What must be installed for it."""
    words: frozenset[str] = frozenset()
    """Its subcommands; all others of the same noun are a program's. Empty: it has the noun to itself."""


NOUNS: dict[str, Noun] = {
    "company": Noun("merilo_cli.places:company_app", "Companies: add, list."),
    "site": Noun("merilo_cli.places:site_app", "Sites of a company: add, list."),
    "gateway": Noun(
        "merilo_cli.gateways:app",
        "Gateways: add, list, revoke their logins; run one, read devices, check a file.",
        words=frozenset({"add", "list", "revoke"}),
    ),
    "device": Noun("merilo_cli.devices:app", "What gateways talk to: list, set facts."),
    "meter": Noun("merilo_cli.meters:app", "What energy is booked on: list, confirm, set, end."),
    "decision": Noun("merilo_cli.decisions:app", "Operators' decisions: add, list, revoke."),
    "event": Noun("merilo_cli.events:app", "What happened: list."),
    "key": Noun("merilo_cli.keys:app", "API keys: add, list, revoke."),
    "doctor": Noun("merilo_cli.doctor:doctor", "Does this installation work, and what to do if not."),
    "up": Noun("merilo_cli.up:up", "All programs of one real company.", extra="demo"),
    "demo": Noun("merilo_cli.demo:demo", "A first run with one simulated company.", extra="demo"),
}
_PROGRAM_HELP = {
    "api": "HTTP API and the built-in page.",
    "boards": "Grafana boards: build and check them.",
    "books": "From readings to energy and indicators.",
    "collector": "From broker to store; dead letters.",
    "simulators": "Meters and companies with known truth.",
    "store": "Databases, retention, comparison.",
}
_EXTRA_OF = {"books": "collector", "store": "collector", "boards": "grafana"}
"""Where the extra is not named as the noun is."""


@dataclass(slots=True)
class Line:
    """A command line taken apart."""

    settings: dict[str, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    rest: list[str] = field(default_factory=list)
    """From the noun on."""

    @property
    def noun(self) -> str:
        """The first word, or nothing."""
        return self.rest[0] if self.rest and not self.rest[0].startswith("-") else ""


_SETTINGS = {"--data": "MERILO_DATA", "--registry": "MERILO_REGISTRY", "--lang": "MERILO_LANG"}
_FLAGS = {"--debug": "debug", "--quiet": "quiet", "-q": "quiet", "--verbose": "verbose", "-v": "verbose"}


def taken_apart(argv: Sequence[str]) -> Line:
    """Takes options of the whole command from before the noun; after a noun of this package's own, from anywhere."""
    line = Line()
    rest = list(argv)
    own = False
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        may_take = own or not line.rest
        if may_take and name in _SETTINGS and (equals or rest):
            line.settings[_SETTINGS[name]] = value if equals else rest.pop(0)
        elif may_take and word in _FLAGS:
            line.flags.add(_FLAGS[word])
        else:
            line.rest.append(word)
            if word == "--":
                line.rest.extend(rest)
                break
            own = _is_own(line.rest)
    return line


def _is_own(rest: Sequence[str]) -> bool:
    noun = NOUNS.get(rest[0]) if rest else None
    return noun is not None and (not noun.words or (len(rest) > 1 and rest[1] in noun.words))


def _root(
    data: Annotated[str, typer.Option(help="Data folder; else MERILO_DATA, /var/lib/merilo, or the user's own.")] = "",
    registry: Annotated[str, typer.Option(help="Registry URL; else MERILO_REGISTRY, or registry.db there.")] = "",
    lang: Annotated[str, typer.Option(help="bg or en; else MERILO_LANG, or the locale's.")] = "",
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Data and errors only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
    show_version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Measures what small offices and server rooms use, and proves what they save."""
    if show_version:
        typer.echo(f"merilo {version('merilo')}")
        raise typer.Exit


def _new_app(help_text: str = "") -> typer.Typer:
    return typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        help=help_text,
        add_completion=False,
    )


def _programs() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _load(target: str | EntryPoint) -> Any:
    if isinstance(target, EntryPoint):
        return target.load()
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _attach(root: typer.Typer, name: str, found: Any, help_text: str | None = None) -> None:
    """Hangs an app or a function below the root under one name."""
    if isinstance(found, typer.Typer):
        if help_text is None:
            root.add_typer(found, name=name)
        else:
            root.add_typer(found, name=name, help=help_text)
    else:
        root.command(name)(found)


def app_for(line: Line) -> typer.Typer:
    """The command tree as far as this command line needs it."""
    root = typer.Typer(no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=True)
    root.callback(invoke_without_command=True)(_root)
    programs = _programs()
    noun = line.noun
    if noun not in NOUNS and noun not in programs:
        for name in sorted({*NOUNS, *programs}):
            own = NOUNS.get(name)
            _attach(root, name, _placeholder(), own.help if own else _PROGRAM_HELP.get(name, "Added by a package."))
        return root
    own = NOUNS.get(noun)
    if own is None:
        _attach(root, noun, _load(programs[noun]))
    elif _is_own(line.rest) or noun not in programs:
        _attach(root, noun, _load(own.target), own.help)
    else:
        _attach(root, noun, _merged(own, programs[noun], line), own.help)
    return root


def _placeholder() -> typer.Typer:
    app = _new_app()
    app.command("run")(lambda: None)
    return app


def _merged(own: Noun, program: EntryPoint, line: Line) -> typer.Typer:
    """The subcommands of both under one noun; help also works where only one of them is installed."""
    merged = _new_app(own.help)
    asks_help = len(line.rest) == 1 or line.rest[1] == "--help"
    for target in (own.target, program):
        try:
            part = _load(target)
        except ModuleNotFoundError:
            if target is program and not asks_help:
                raise
            continue
        merged.registered_commands += part.registered_commands
        merged.registered_groups += part.registered_groups
    return merged


def _missing(noun: str, error: ModuleNotFoundError) -> str:
    own = NOUNS.get(noun)
    extra = own.extra if own is not None and error.name == "sqlalchemy" else _EXTRA_OF.get(noun, noun)
    return f"merilo {noun}: needs {error.name or error}, which is not installed here. Install merilo[{extra}]"


def _exit_code(error: MeriloError) -> int:
    if isinstance(error, ConfigError) and error.where.startswith("--"):
        return EXIT_USAGE
    names = (kind.__name__ for kind in type(error).__mro__)
    return next((_EXIT_OF[name] for name in names if name in _EXIT_OF), EXIT_REFUSED)


def _end(text: str, code: int) -> NoReturn:
    print(text, file=sys.stderr)
    sys.exit(code)


def _run(call: Callable[[], object], noun: str, debug: bool) -> NoReturn:
    """Runs a command and turns what it raises into one line and an exit code."""
    try:
        call()
    except MeriloError as error:
        if debug:
            raise
        _end(str(error), _exit_code(error))
    except ModuleNotFoundError as error:
        if debug:
            raise
        _end(_missing(noun, error), EXIT_USAGE)
    except KeyboardInterrupt:
        _end("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:  # whoever reads our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if debug:
            raise
        _end(f"{error.filename or 'merilo'}: {error.strerror or error}. Check path, owner and space", EXIT_CONFIG)
    except Exception as error:
        if debug:
            raise
        what = f"{type(error).__name__}: {error}"
        _end(f"merilo {noun}: stopped by an error of its own, {what}. Run it again with --debug and report it", 1)
    sys.exit(0)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs one command line and ends the process with its exit code."""
    line = taken_apart(sys.argv[1:] if argv is None else argv)
    os.environ.update(line.settings)
    if "quiet" in line.flags:
        os.environ["MERILO_QUIET"] = "1"
    logging.basicConfig(
        level=logging.INFO if "verbose" in line.flags else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    _run(lambda: app_for(line)(args=line.rest, prog_name="merilo"), line.noun, "debug" in line.flags)


if __name__ == "__main__":
    main()
