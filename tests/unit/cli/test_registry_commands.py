"""The registry's commands: data to stdout, talk to stderr, JSON for programs, questions only on a terminal."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from merilo.instants import DAY_MS
from merilo.site import Company, Site
from merilo_adapters.registry import Registry
from merilo_cli.arguments import instant_of, shown
from merilo_cli.main import main
from merilo_cli.output import ArgumentError
from registry_parts import GATEWAY, MAIN, NOW, in_memory


class Shell:
    """Runs commands on one data folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def run(self, *argv: str, code: int = 0) -> tuple[str, str]:
        """Stdout and stderr of a command that ends with this code."""
        with pytest.raises(SystemExit) as ended:
            main(argv)
        captured = self._capsys.readouterr()
        assert ended.value.code == code, captured.err
        return captured.out, captured.err

    def json(self, *argv: str) -> list[dict[str, Any]]:
        """What a command says to a program."""
        out, _ = self.run(*argv, "--json")
        return [json.loads(line) for line in out.splitlines()]

    def registry(self) -> Registry:
        """The registry behind the commands."""
        return Registry.open(f"sqlite:///{self.folder}/registry.db")


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """A registry with company acme, site hq in Sofia, gateway gw1 and its device main, to be copied."""
    with tempfile.TemporaryDirectory(prefix="merilo-", dir=in_memory()) as made:
        file = Path(made) / "registry.db"
        registry = Registry.open(f"sqlite:///{file}")
        registry.add_company(Company(id="acme", name="Acme", created_ms=NOW))
        registry.add_site(Site(company="acme", id="hq", name="hq", zone="Europe/Sofia", country="BG"))
        registry.add_gateway(GATEWAY, NOW)
        registry.see_devices([MAIN], NOW)
        registry.close()
        yield file


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    """With an empty data folder, in English."""
    for name in ("MERILO_REGISTRY", "MERILO_QUIET", "MERILO_STORE", "MERILO_BROKER"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("MERILO_LANG", "en")
    with tempfile.TemporaryDirectory(prefix="merilo-", dir=in_memory()) as made:
        monkeypatch.setenv("MERILO_DATA", made)
        yield Shell(Path(made), capsys)


@pytest.fixture
def furnished(shell: Shell, template: Path) -> Shell:
    """With company, site, gateway and device."""
    shutil.copy(template, shell.folder / "registry.db")
    return shell


def test_companies_and_sites_are_added_and_listed(shell: Shell) -> None:
    shell.run("company", "add", "acme", "--name", "Acme")
    shell.run("company", "add", "beta", "--raw-days", "forever")
    shell.run("site", "add", "acme/hq", "--zone", "Europe/Sofia", "--country", "bg")

    assert [(row["id"], row["raw_days"]) for row in shell.json("company", "list")] == [
        ("acme", 90),
        ("beta", "forever"),
    ]
    [site] = shell.json("site", "list", "acme")
    assert (site["zone"], site["country"], site["currency"]) == ("Europe/Sofia", "BG", "EUR")
    out, err = shell.run("company", "list")
    assert out.splitlines()[0].split()[:2] == ["id", "name"]
    assert err == ""


def test_a_piped_table_is_never_cut(furnished: Shell) -> None:
    name = "А" * 110
    furnished.run("company", "add", "long", "--name", name)

    assert name in furnished.run("company", "list")[0]


def test_an_empty_list_says_so_on_stderr_and_nothing_on_stdout(shell: Shell) -> None:
    assert shell.run("company", "list") == ("", "Nothing to show.\n")
    assert shell.run("company", "list", "--lang", "bg") == ("", "Няма нищо за показване.\n")
    assert shell.run("company", "list", "--json") == ("", "")
    assert shell.run("company", "list", "--quiet") == ("", "")


def test_a_gateways_password_is_on_stdout_once_and_the_broker_files_are_ready(furnished: Shell) -> None:
    out, err = furnished.run("gateway", "add", "acme/hq/gw2", "--json")

    made = json.loads(out)
    assert made["password"] not in err
    assert "shown once" in err
    files = furnished.folder / "broker"
    assert f"user {made['login']}\n" in (files / "acl").read_text()
    assert f"\n{made['login']}:$7$101$" in (files / "passwords").read_text()
    assert made["password"] not in (files / "passwords").read_text()
    assert all("password" not in row for row in furnished.json("gateway", "list"))


def test_a_revoked_gateway_leaves_the_broker_files(furnished: Shell) -> None:
    [row] = furnished.json("gateway", "list", "acme")

    _, err = furnished.run("gateway", "revoke", "acme/hq/gw1", code=2)
    assert err.startswith("--yes: expected, because there is no terminal to ask on")
    furnished.run("gateway", "revoke", "acme/hq/gw1", "--yes")

    assert row["login"] not in (furnished.folder / "broker" / "acl").read_text()
    assert furnished.json("gateway", "list")[0]["revoked"] is not None


def test_keys_are_shown_once_and_revoked(furnished: Shell) -> None:
    [made] = furnished.json("key", "add", "monthly Excel", "--company", "acme", "--scope", "read:reports")
    registry = furnished.registry()
    assert registry.check_key(made["key"], NOW) is not None

    [listed] = furnished.json("key", "list")
    assert listed == {name: value for name, value in made.items() if name != "key"}
    furnished.run("key", "revoke", made["id"], "--yes")
    assert registry.check_key(made["key"], 2**60) is None
    registry.close()
    assert "has none of that id" in furnished.run("key", "revoke", "nothing", "--yes", code=1)[1]


def test_meters_are_confirmed_set_and_ended_in_local_time(furnished: Shell) -> None:
    [row] = furnished.json("meter", "list", "acme", "--unconfirmed")
    assert (row["meter"], row["role"], row["source"], row["from"]) == ("main", "unassigned", "gw1/main", "start")

    assert [r["meter"] for r in furnished.json("meter", "confirm", "acme/hq")] == ["main"]
    assert furnished.run("meter", "confirm", "acme/hq")[1] == "Nothing to confirm.\n"
    _, err = furnished.run("meter", "set", "acme/hq/main", "--role", "main", "--from", "2025-10-01")
    assert err == "Books form again from 2025-10-01T00:00:00+03:00\n"
    furnished.run("meter", "set", "acme/hq/half", "--expression", "0.5*main", "--from", "start", "--parent", "main")
    furnished.run("meter", "end", "acme/hq/half", "--from", "2025-12-01T12:15")

    found = [(r["meter"], r["role"], r["from"], r["to"]) for r in furnished.json("meter", "list", "acme/hq")]
    assert found == [
        ("half", "unassigned", "start", "2025-12-01T12:15:00+02:00"),
        ("main", "unassigned", "start", "2025-10-01T00:00:00+03:00"),
        ("main", "main", "2025-10-01T00:00:00+03:00", None),
    ]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("meter", "set", "acme/hq", "--from", "start"), "METER: expected company/site/meter"),
        (("meter", "set", "acme/hq/m", "--from", "2025-13-01"), "--from: expected a date or a time"),
        (("meter", "set", "acme/hq/m", "--from", "2025-10-01T00:07", "--role", "it"), "--from: expected a quarter"),
        (("meter", "set", "acme/hq/m", "--from", "start", "--device", "main"), "--device: expected gateway/device"),
        (("meter", "set", "acme/hq/m", "--from", "start", "--phase", "l1"), "--phase: expected l1, l2 or l3"),
        (("company", "add", "Acme Ltd"), "COMPANY: company 'Acme Ltd'"),
        (("company", "add", "x", "--raw-days", "many"), "--raw-days: expected a number"),
        (("decision", "add", "guess", "acme/hq/gw1/main", "--reason", "x"), "KIND: expected one of confirm"),
        (("decision", "add", "swap", "acme/hq/gw1/main", "--reason", "x"), "--at: expected for swap"),
        (("event", "list", "acme", "--kind", "party"), "--kind: expected one of ledger"),
        (("device", "set", "acme/hq/gw1/main", "--from", "start"), "--max-power-w: expected this"),
        (
            ("device", "set", "acme/hq/gw1/main", "--from", "start", "--max-power-w", "-5"),
            "--max-power-w: expected more",
        ),
        (("device", "set", "acme/hq/gw1/main", "--from", "start", "--rated-current-a", "0"), "--rated-current-a: expe"),
        (
            ("meter", "set", "acme/hq/m", "--from", "start", "--expression", "main +"),
            "--expression: expression 'main +': expected a",
        ),
        (("site", "add", "acme/lab", "--zone", "Europe/Sofa"), "--zone: expected an IANA name"),
        (("key", "add", "excel", "--scope", "write:all"), "--scope: expected some of read:series"),
    ],
)
def test_a_wrong_argument_is_a_usage_error_that_names_it(furnished: Shell, argv: tuple[str, ...], message: str) -> None:
    _, err = furnished.run(*argv, code=2)

    assert err.startswith(message)


def test_what_the_registry_refuses_ends_with_1(furnished: Shell) -> None:
    assert "acme" in furnished.run("company", "add", "acme", code=1)[1]
    assert "has none of that id" in furnished.run("site", "list", "ghost", code=1)[1]
    refused = furnished.run("meter", "set", "acme/hq/main", "--from", "start", "--expression", "main", code=1)[1]
    assert "is formed of itself" in refused


def test_a_decision_is_entered_listed_and_revoked(furnished: Shell) -> None:
    [made] = furnished.json(
        *("decision", "add", "scale", "acme/hq/gw1/main", "--from", "2025-10-01", "--to", "2025-10-02"),
        *("--factor", "1.5", "--reason", "CT 150/5"),
    )
    assert made["target"] == "acme/hq/gw1/main/active_energy_import_wh"
    assert (made["from"], made["parameters"]) == ("2025-10-01T00:00:00+03:00", {"factor": 1.5})

    assert [row["number"] for row in furnished.json("decision", "list", "acme")] == [made["number"]]
    furnished.run("decision", "revoke", str(made["number"]), "--yes")
    assert furnished.json("decision", "list", "acme") == []
    [revoked] = furnished.json("decision", "list", "acme/hq", "--all")
    assert (revoked["revoked"] is not None, revoked["revoke_reason"]) == (True, "")

    furnished.run(
        *("decision", "add", "set_energy", "acme/hq/main", "--from", "2025-10-01", "--to", "2025-10-02"),
        *("--energy-wh", "12000", "--reason", "bill"),
    )
    [left] = furnished.registry().decisions("acme")[1:]
    assert left.parameters == {"energy_wh": 12000.0}


def test_why_a_decision_was_revoked_is_kept_and_listed(furnished: Shell) -> None:
    scale = ("decision", "add", "scale", "acme/hq/gw1/main", "--from", "2025-10-01", "--to", "2025-10-02")
    first, second = (furnished.json(*scale, "--factor", "1.5", "--reason", "CT 150/5")[0]["number"] for _ in range(2))

    [said] = furnished.json("decision", "revoke", str(first), "--reason", " the plate says 100/5 ", "--yes")
    furnished.run("decision", "revoke", str(second), "--yes")

    listed = {one["number"]: one["revoke_reason"] for one in furnished.json("decision", "list", "acme", "--all")}
    assert said["revoke_reason"] == "the plate says 100/5"
    assert listed == {first: "the plate says 100/5", second: ""}
    assert "the plate says 100/5" in furnished.run("decision", "list", "acme", "--all")[0]
    furnished.run("decision", "revoke", "1", "--reason", "x" * 401, "--yes", code=2)


def test_events_are_listed_by_place_and_kind(furnished: Shell) -> None:
    registry = furnished.registry()
    registry.add_event("outage", GATEWAY, NOW, {"reason": "fibre cut"}, code="uplink")
    registry.close()

    [event] = furnished.json("event", "list", "acme/hq", "--from", "2025-11-01", "--to", "2025-12-01")
    assert (event["place"], event["code"], event["at"]) == ("hq/gw1", "uplink", "2025-11-25T02:00:00+02:00")
    assert furnished.json("event", "list", "acme", "--from", "2025-11-01", "--kind", "quality") == []


def test_a_list_of_a_company_that_does_not_exist_is_refused_by_every_noun(furnished: Shell) -> None:
    for noun in ("site", "gateway", "device", "meter", "decision", "event", "key"):
        assert "company ghost: the registry has none of that id" in furnished.run(noun, "list", "ghost", code=1)[1]


@pytest.mark.parametrize("noun", ["meter", "device", "event", "decision"])
def test_a_list_of_a_site_that_does_not_exist_names_those_that_do(furnished: Shell, noun: str) -> None:
    said = furnished.run(noun, "list", "acme/nope", code=1)[1]

    assert "site acme/nope: company acme has none of that id. Its sites: hq" in said


def test_a_role_that_does_not_exist_is_a_wrong_argument(furnished: Shell) -> None:
    said = furnished.run("meter", "set", "acme/hq/m", "--from", "start", "--role", "kitchen", code=2)[1]

    assert "expected one of main, it, ups_in" in said
    assert "'kitchen'" in said


def test_devices_show_what_is_assumed_and_take_facts(furnished: Shell) -> None:
    from merilo import wire
    from registry_parts import birth, counter

    registry = furnished.registry()
    registry.apply_birth(GATEWAY, birth({"main": wire.BirthDevice(quantities=counter())}), NOW)

    [row] = furnished.json("device", "list", "acme/hq")
    assert (row["device"], row["max_power_w"], row["assumed"]) == ("main", None, "max_power_mw")
    furnished.run("device", "set", "acme/hq/gw1/main", "--rated-current-a", "25", "--from", "start")

    [row] = furnished.json("device", "list", "acme/hq")
    assert (row["max_power_w"], row["assumed"]) == (21562.5, "")  # 1.25 x 3 x 230 V x 25 A
    registry.close()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("start", 0),
        ("1970-01-02T02:00", DAY_MS),  # Sofia was two hours ahead
        ("1970-01-02T00:00Z", DAY_MS),
        ("1970-01-02T05:30+05:30", DAY_MS),
    ],
)
def test_an_instant_is_local_unless_it_has_an_offset(text: str, wanted: int) -> None:
    assert instant_of(text, "--from", "Europe/Sofia") == wanted
    assert shown(wanted, "Europe/Sofia") == ("start" if wanted == 0 else "1970-01-02T02:00:00+02:00")


@pytest.mark.parametrize("text", ["2025-03-30T03:30", "2025-10-26T03:30"])
def test_a_local_time_that_is_missing_or_comes_twice_is_refused(text: str) -> None:
    with pytest.raises(ArgumentError, match="the clocks change"):
        instant_of(text, "--from", "Europe/Sofia")


def test_the_help_of_role_names_every_role(furnished: Shell) -> None:
    said = furnished.run("meter", "set", "--help")[0]

    for role in (
        "main",
        "it",
        "ups_in",
        "ups_out",
        "pdu",
        "cooling",
        "lighting",
        "pv",
        "office",
        "other",
        "unassigned",
    ):
        assert re.search(rf"\b{role}\b", said), role
