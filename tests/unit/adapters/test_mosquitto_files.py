"""Files for mosquitto: exact text, atomic replacement, secrets that only their owner reads."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from pathlib import Path

import pytest

from merilo.errors import ConfigError
from merilo.ids import GatewayKey
from merilo_adapters.mosquitto_files import (
    Login,
    acl_text,
    collector_password,
    new_password,
    password_fits,
    password_hash,
    write_files,
)

GW1 = Login("gw-7k3m9q2xwa", password_hash("secret", b"123456789012"), GatewayKey("acme", "hq", "gw1"))
GW2 = Login("gw-2222222222", password_hash("other", b"123456789012"), GatewayKey("acme", "branch", "gw1"))

ACCESS = """\
# Written by merilo from its registry; changes made here are lost.
user collector
topic read merilo/v1/+/+/+/state
topic read merilo/v1/+/+/+/birth
topic read merilo/v1/+/+/+/readings
topic read merilo/v1/+/+/+/health
topic read merilo/v1/+/+/+/event
topic read merilo/v1/+/+/+/cmd/+/reply
topic write merilo/v1/+/+/+/ack
topic write merilo/v1/+/+/+/cmd/+

user monitor
topic read $SYS/#

user gw-7k3m9q2xwa
topic write merilo/v1/acme/hq/gw1/state
topic write merilo/v1/acme/hq/gw1/birth
topic write merilo/v1/acme/hq/gw1/readings
topic write merilo/v1/acme/hq/gw1/health
topic write merilo/v1/acme/hq/gw1/event
topic write merilo/v1/acme/hq/gw1/cmd/+/reply
topic read merilo/v1/acme/hq/gw1/ack
topic read merilo/v1/acme/hq/gw1/cmd/+
"""


def test_the_access_list_has_one_block_per_gateway_and_nothing_for_everybody() -> None:
    assert acl_text([GW1]) == ACCESS


def test_blocks_stand_in_the_order_of_places_so_that_the_text_depends_on_the_registry_alone() -> None:
    assert acl_text([GW1, GW2]) == acl_text([GW2, GW1])
    assert acl_text([GW1, GW2]).index("gw-2222222222") < acl_text([GW1, GW2]).index("gw-7k3m9q2xwa")


def test_a_password_is_stored_as_mosquitto_2_does() -> None:
    # mosquitto_passwd 2.0: $7$, iterations, base64 of a 12-byte salt, base64 of PBKDF2-HMAC-SHA512 of 64 bytes.
    salt = b"123456789012"
    wanted = base64.b64encode(hashlib.pbkdf2_hmac("sha512", b"secret", salt, 101, 64)).decode()

    assert password_hash("secret", salt) == f"$7$101$MTIzNDU2Nzg5MDEy${wanted}"
    assert password_fits("secret", password_hash("secret"))
    assert not password_fits("Secret", password_hash("secret"))
    assert not password_fits("secret", "$6$salt$hash")
    assert not password_fits("secret", "")


def test_passwords_are_random_and_readable() -> None:
    found = {new_password() for _ in range(50)}

    assert len(found) == 50
    assert all(re.fullmatch("[a-km-np-z2-9]{32}", password) for password in found)


def test_the_collectors_password_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    made = collector_password(tmp_path)

    assert collector_password(tmp_path) == made
    assert (tmp_path / "collector.password").stat().st_mode & 0o777 == 0o600


def test_a_password_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    collector_password(tmp_path)
    (tmp_path / "collector.password").chmod(0o644)

    with pytest.raises(ConfigError, match="expected mode 600, found 644"):
        collector_password(tmp_path)


def test_an_empty_password_file_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "collector.password"
    file.touch(0o600)

    with pytest.raises(ConfigError, match="holds no password"):
        collector_password(tmp_path)


def test_nothing_is_written_where_nothing_changed(tmp_path: Path) -> None:
    first = write_files(tmp_path / "broker", tmp_path, [GW1])
    before = {file: (file.read_text(), file.stat().st_ino) for file in (first.access, first.passwords)}

    again = write_files(tmp_path / "broker", tmp_path, [GW1])

    assert first.changed
    assert not again.changed
    assert {file: (file.read_text(), file.stat().st_ino) for file in before} == before


def test_a_file_is_replaced_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    first = write_files(tmp_path / "broker", tmp_path, [GW1])
    first.passwords.chmod(0o600)
    number = first.access.stat().st_ino

    found = write_files(tmp_path / "broker", tmp_path, [GW1, GW2])

    assert found.changed
    assert found.access.stat().st_ino != number
    assert found.passwords.stat().st_mode & 0o777 == 0o600
    assert found.access.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path / "broker")) == ["acl", "passwords"]
    names = [line.partition(":")[0] for line in found.passwords.read_text().splitlines()]
    assert names == ["collector", "gw-2222222222", "gw-7k3m9q2xwa"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "broker").write_text("a file where a folder should be")

    with pytest.raises(ConfigError, match="broker: cannot be written"):
        write_files(tmp_path / "broker", tmp_path, [])
    with pytest.raises(ConfigError, match="cannot be made"):
        collector_password(tmp_path / "broker")
