"""The root of the command line: lazy, honest about what is missing, one line per error, stable exit codes."""

from __future__ import annotations

import resource
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
import typer

from merilo.errors import BrokerError, ConfigError, ConflictError, DeviceError, MeriloError, StoreUnavailableError
from merilo_adapters.registry import RegistryUnavailableError
from merilo_cli import main as root
from merilo_cli.main import NOUNS, main, taken_apart
from merilo_cli.output import ArgumentError


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MERILO_DATA", "MERILO_REGISTRY", "MERILO_LANG", "MERILO_QUIET"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def run(*argv: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def plug(monkeypatch: pytest.MonkeyPatch, **programs: str) -> None:
    """Makes these entry points the only ones."""
    points = {name: EntryPoint(name, target, root.GROUP) for name, target in programs.items()}
    monkeypatch.setattr(root, "_programs", lambda: points)


def test_help_names_every_noun_and_loads_none_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    code = (
        "import sys\nfrom merilo_cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as e:\n    assert e.code == 0\n"
        "heavy = ('numpy', 'sqlalchemy', 'pydantic', 'rich', 'pymodbus', 'paho', 'fastapi', 'merilo_gateway')\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert found.stderr == "[]\n"
    assert all(f"  {noun} " in found.stdout for noun in (*NOUNS, "collector", "api"))
    assert after.ru_utime - before.ru_utime < 0.4


def test_without_a_noun_help_is_shown_and_it_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    captured = capsys.readouterr()
    assert "Commands:" in captured.out + captured.err


def test_the_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    assert run("--version") == 0
    assert capsys.readouterr().out == f"merilo {version('merilo')}\n"


def test_a_mistyped_noun_is_a_usage_error_that_suggests_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compony", "list") == 2
    assert "Did you mean 'company'?" in capsys.readouterr().err


def test_a_program_whose_extra_is_missing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plug(monkeypatch, api="no_such_library_here.commands:app", boards="no_such_library_here.commands:app")

    assert run("api", "run") == 2
    assert capsys.readouterr().err == (
        "merilo api: needs no_such_library_here, which is not installed here. Install merilo[api]\n"
    )
    assert run("boards", "push") == 2
    assert "Install merilo[grafana]" in capsys.readouterr().err


def test_a_library_missing_inside_a_command_says_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plug(monkeypatch, collector="somewhere:late")
    monkeypatch.setattr(root, "_load", lambda target: late)

    assert run("collector", "run") == 2
    assert (
        "needs no_such_library_here, which is not installed here. Install merilo[collector]" in capsys.readouterr().err
    )


late = typer.Typer()


@late.command("run")
def _late_run() -> None:
    import no_such_library_here  # type: ignore[import-not-found]  # noqa: F401  (that it is missing is the point)


@late.command("other")
def _late_other() -> None:
    """Makes the app a group."""


def test_own_words_of_a_shared_noun_do_not_load_its_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plug(monkeypatch, gateway="no_such_library_here.commands:app")

    assert run("gateway", "list", "--help") == 0
    assert "gateways of one company" in capsys.readouterr().out
    assert run("gateway", "run") == 2
    assert "Install merilo[gateway]" in capsys.readouterr().err


def test_help_of_a_shared_noun_shows_what_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plug(monkeypatch, gateway="no_such_library_here.commands:app")
    assert run("gateway", "--help") == 0
    assert " revoke " in capsys.readouterr().out

    plug(monkeypatch, gateway="merilo_gateway.commands:app")
    assert run("gateway", "--help") == 0
    shown = capsys.readouterr().out
    assert all(f"  {word} " in shown for word in ("add", "list", "revoke", "run", "read", "check"))


def test_a_function_can_be_a_noun(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def greet(name: str = "nobody") -> None:
        typer.echo(f"hello {name}")

    plug(monkeypatch, greet="somewhere:greet")
    monkeypatch.setattr(root, "_load", lambda target: greet)

    assert run("greet", "--name", "Maria") == 0
    assert capsys.readouterr().out == "hello Maria\n"


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ArgumentError("PLACE", "expected a/b", "Write a/b"), 2, "PLACE: expected a/b. Write a/b\n"),
        (ConfigError("--from", "expected a date"), 2, "--from: expected a date\n"),
        (ConfigError("gateway.yaml:9:15", "unknown key", "Did you mean x?"), 3, None),
        (BrokerError("refused"), 4, "refused\n"),
        (StoreUnavailableError("away"), 4, "away\n"),
        (DeviceError("silent"), 4, "silent\n"),
        (RegistryUnavailableError("locked"), 4, "locked\n"),
        (ConflictError("company acme: exists already"), 1, "company acme: exists already\n"),
        (MeriloError("no"), 1, "no\n"),
        (FileNotFoundError(2, "No such file or directory", "/a/b"), 3, None),
        (KeyError("x"), 1, None),
        (KeyboardInterrupt(), 130, None),
    ],
)
def test_errors_end_in_one_line_and_their_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    text: str | None,
) -> None:
    def fail() -> None:
        raise error

    plug(monkeypatch, fail="somewhere:fail")
    monkeypatch.setattr(root, "_load", lambda target: fail)

    assert run("fail") == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert text is None or captured.err == text


def test_debug_shows_where_an_error_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ConflictError("no")

    plug(monkeypatch, fail="somewhere:fail")
    monkeypatch.setattr(root, "_load", lambda target: fail)

    with pytest.raises(ConflictError):
        main(["--debug", "fail"])


def test_options_of_the_whole_command_stand_before_the_noun_or_anywhere_after_an_own_one() -> None:
    line = taken_apart(["--data", "/d", "-q", "company", "add", "acme", "--lang=bg", "--debug"])
    assert line.settings == {"MERILO_DATA": "/d", "MERILO_LANG": "bg"}
    assert line.flags == {"quiet", "debug"}
    assert line.rest == ["company", "add", "acme"]

    assert taken_apart(["gateway", "list", "--data", "/d"]).settings == {"MERILO_DATA": "/d"}


def test_options_after_a_programs_noun_are_the_programs() -> None:
    for argv in (["collector", "run", "--data", "/d"], ["gateway", "run", "--debug"], ["--", "company", "--debug"]):
        line = taken_apart(argv)
        assert (line.settings, line.flags, line.rest) == ({}, set(), argv)
