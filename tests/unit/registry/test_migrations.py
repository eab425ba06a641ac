"""Schema: what the tables say, the steps build; old files are copied, then brought up; newer ones are refused."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from merilo.errors import ConfigError, RegistryError
from merilo.ids import DeviceKey, MeterKey, RegisterKey
from merilo.instants import DAY_MS, HOUR_MS
from merilo_adapters.registry import FORM, Registry, RegistryUnavailableError, tables
from merilo_adapters.registry.database import Database
from merilo_adapters.registry.migrations import HEAD, STEPS, Steps, run
from merilo_adapters.registry.work import Checkpoint
from registry_parts import GATEWAY, IMPORT, MAIN, MAIN_IMPORT, NOW

RELEASE = Path(__file__).parents[2] / "fixtures" / "release-0.1" / "registry.db"

NEXT_STEP = '''
"""A step that rebuilds a table which others refer to."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("companies", recreate="always") as batch:
        batch.add_column(sa.Column("vat_number", sa.String(32), nullable=False, server_default=""))
'''


@pytest.fixture
def url(folder: Path) -> str:
    """Files are what these tests are about."""
    return f"sqlite:///{folder}/registry.db"


@contextmanager
def engine(file: Path) -> Iterator[sa.Engine]:
    found = sa.create_engine(f"sqlite:///{file}")
    yield found
    found.dispose()


@pytest.fixture
def later(folder: Path) -> Steps:
    """The steps of a release after this one."""
    steps = folder / "steps"
    shutil.copytree(STEPS.folder, steps, ignore=shutil.ignore_patterns("__pycache__"))
    (steps / "versions" / "0002_next.py").write_text(NEXT_STEP)
    return Steps("0002", steps)


def test_the_steps_build_exactly_the_tables(folder: Path) -> None:
    with engine(folder / "stepped.db") as stepped, stepped.begin() as connection:
        run.upgrade(connection, STEPS)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = compare_metadata(context, tables.metadata)
        version = connection.exec_driver_sql("SELECT value FROM versions WHERE name = 'registry'").scalar_one()

    assert found == []
    assert version == 1


def test_a_new_file_has_the_same_tables_as_one_that_was_stepped(folder: Path, url: str) -> None:
    Database(url).close()
    with engine(folder / "stepped.db") as stepped, stepped.begin() as connection:
        run.upgrade(connection, STEPS)

    schemas = []
    for name in ("registry.db", "stepped.db"):
        with closing(sqlite3.connect(folder / name)) as file:
            rows = file.execute("SELECT type, name, tbl_name FROM sqlite_master WHERE name != 'alembic_version'")
            columns = {
                table: sorted(file.execute(f"PRAGMA table_info({table})").fetchall(), key=lambda row: str(row[1]))
                for kind, table, _ in rows.fetchall()
                if kind == "table" and not table.startswith("sqlite_")
            }
            without = {
                row[0] for row in file.execute("SELECT name FROM sqlite_master WHERE sql LIKE '%WITHOUT ROWID%'")
            }
            schemas.append(({t: [(c[1], c[2], c[3], c[5]) for c in found] for t, found in columns.items()}, without))
    assert schemas[0] == schemas[1]


def test_the_head_that_is_known_without_the_library_is_the_last_step() -> None:
    assert run.script(STEPS).get_current_head() == HEAD


def test_the_schema_and_every_statement_can_be_written_for_postgresql() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # the library does not say
    for table in tables.metadata.sorted_tables:
        assert str(CreateTable(table).compile(dialect=dialect))
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=dialect))


def test_the_registry_of_release_0_1_is_read(folder: Path) -> None:
    shutil.copy(RELEASE, folder / "registry.db")

    registry = Registry.open(f"sqlite:///{folder}/registry.db")
    work = registry.work()

    assert [(c.id, c.name, c.raw_days) for c in registry.companies()] == [
        ("acme", "Примерна ООД", 90),
        ("beta", "Beta AS", None),
    ]
    assert registry.site("acme", "hq").zone == "Europe/Sofia"
    assert [login.gateway for login in registry.logins()] == [GATEWAY]
    assert [(d.key.device, d.serial, d.confirmed) for d in registry.devices("acme")] == [
        ("main", "B2", True),
        ("ups", "", False),
    ]
    assert registry.identity_instants(MAIN) == (NOW + HOUR_MS,)
    [facts] = registry.facts(MAIN)[IMPORT]
    assert (facts.step_mwh, facts.max_power_mw, facts.zero_is_valid) == (100_000, 23_000_000, False)
    assert {(v.meter, v.role, v.parent, v.expression) for v in registry.meters("acme")} == {
        ("main", "main", None, None),
        ("ups-in", "ups_in", "main", None),
        ("rest", "office", "main", "main - ups-in"),
    }
    assert [(d.kind, d.target, d.revoked) for d in registry.decisions("acme")] == [
        ("scale", MAIN_IMPORT, True),
        ("set_energy", MeterKey("acme", "hq", "main"), False),
    ]
    assert [e.kind for _, e in registry.ledger_events(MAIN_IMPORT, 0, NOW + DAY_MS)] == ["swap"]
    assert [k.name for k in registry.list_keys()] == ["monthly Excel"]
    assert {t.key for t in work.pending(10)} >= {MAIN_IMPORT, RegisterKey(*MAIN, FORM)}
    assert work.received(GATEWAY, "0123456789abcdef") == [(0, 41)]
    assert [(d.reason, d.seq, d.payload) for d in work.dead_letters()] == [("future", 42, b'{"v":1}')]
    assert [(s.count, s.checksum) for s in work.day_sums("acme", 0, NOW + 1)] == [(42, 2**64 - 7)]
    assert work.newest_before(MAIN_IMPORT, NOW + 5, NOW + 5) == Checkpoint("day", NOW, NOW, b"\x01")
    registry.close()


def test_opening_a_current_file_copies_nothing(folder: Path, url: str) -> None:
    Registry.open(url).close()
    Registry.open(url).close()

    assert [file.name for file in folder.iterdir() if "before" in file.name] == []


def test_an_older_file_is_copied_then_migrated_with_all_that_refers_to_it(folder: Path, later: Steps) -> None:
    file = folder / "registry.db"
    shutil.copy(RELEASE, file)

    database = Database(f"sqlite:///{file}", later)
    again = Database(f"sqlite:///{file}", later)

    with database.read() as connection:
        rows = connection.exec_driver_sql("SELECT id, vat_number FROM companies ORDER BY id").fetchall()
        sites = connection.exec_driver_sql("SELECT count(*) FROM sites").scalar_one()
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
    assert [tuple(row) for row in rows] == [("acme", ""), ("beta", "")]
    assert sites == 1
    database.close()
    again.close()
    copy = folder / "registry.db.before-0001-to-0002"
    with closing(sqlite3.connect(copy)) as before:
        assert before.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
        assert before.execute("SELECT count(*) FROM companies").fetchall() == [(2,)]
    assert copy.stat().st_mode & 0o777 == file.stat().st_mode & 0o777


def test_a_migration_that_fails_leaves_the_file_as_it_was(folder: Path, later: Steps) -> None:
    file = folder / "registry.db"
    shutil.copy(RELEASE, file)
    step = later.folder / "versions" / "0002_next.py"
    step.write_text(step.read_text() + "    op.execute(\"DELETE FROM companies WHERE id = 'acme'\")\n")

    with pytest.raises(RegistryError, match="without what it refers to"):
        Database(f"sqlite:///{file}", later)

    registry = Registry.open(f"sqlite:///{file}")
    assert [c.id for c in registry.companies()] == ["acme", "beta"]
    registry.close()


def test_a_file_of_a_newer_release_is_refused_and_left_alone(folder: Path, url: str) -> None:
    Registry.open(url).close()
    with closing(sqlite3.connect(folder / "registry.db")) as file, file:
        file.execute("UPDATE alembic_version SET version_num = '0007'")

    with pytest.raises(RegistryError, match="schema 0007 is newer than this release, which knows 0001"):
        Registry.open(url)
    assert [file.name for file in folder.iterdir() if "before" in file.name] == []


def test_a_file_that_is_something_else_is_refused(folder: Path, url: str) -> None:
    (folder / "registry.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(RegistryError, match="not a database"):
        Registry.open(url)

    (folder / "registry.db").unlink()
    with closing(sqlite3.connect(folder / "registry.db")) as file, file:
        file.execute("CREATE TABLE companies (id TEXT)")
    with pytest.raises(RegistryError, match="expected a registry or nothing"):
        Registry.open(url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite://", "names no file"),
        ("mysql://host/merilo", "found 'mysql'"),
        ("not a url", "cannot be read"),
        ("sqlite:////nowhere/at/all/registry.db", "/nowhere/at/all does not exist"),
    ],
)
def test_a_url_that_cannot_be_used_says_what_to_write(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Registry.open(url)


def test_trouble_of_the_database_is_told_apart_from_a_refusal(registry: Registry, folder: Path) -> None:
    registry.close()
    with closing(sqlite3.connect(folder / "registry.db")) as file, file:
        file.execute("DROP TABLE work_touched")

    with pytest.raises(RegistryUnavailableError, match="cannot be used now"):
        registry.work().touch(RegisterKey(*DeviceKey(*GATEWAY, "main"), "*"), 0, 1)


def test_no_password_of_a_url_is_shown() -> None:
    shown = Database.__new__(Database)
    shown.url = sa.engine.make_url("postgresql+psycopg://merilo:s3cret@host/merilo")

    assert "s3cret" not in shown.shown
