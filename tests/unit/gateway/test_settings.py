"""gateway.yaml: what is refused, where, and with which hint."""

from __future__ import annotations

from pathlib import Path

import pytest

from merilo.errors import ConfigError
from merilo_adapters.yaml_file import parse_yaml, validate
from merilo_gateway.gateway_file import GatewayModel
from merilo_gateway.settings import Settings, data_folder, settings_from
from merilo_gateway.units import ct, current_a, duration_ms, power_w, size_bytes

HEAD = """\
version: 1
company: acme
site: hq
gateway: gw1
broker: {url: "mqtt://127.0.0.1:1883"}
"""
BUS = """\
buses:
  - device: /dev/rs485-A
    baud: 9600
    devices:
      - {id: main, profile: eastron_sdm630, unit: 1, role: main}
"""


def load(text: str, environment: dict[str, str] | None = None) -> Settings:
    return settings_from(parse_yaml(text, "gateway.yaml"), environment or {})


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        load(text)
    return str(error.value)


def test_a_small_file_is_complete() -> None:
    settings = load(HEAD + BUS)

    assert settings.key == ("acme", "hq", "gw1")
    assert settings.model.interval == 10_000
    assert settings.model.buses[0].endpoint.text == "/dev/rs485-A 9600 8N1"
    assert settings.models["main"].name == "eastron_sdm630"
    assert settings.client_id == "merilo-acme-hq-gw1"
    assert len(settings.config_hash) == 16


def test_parity_and_stop_bits_make_the_character_format() -> None:
    text = BUS.replace("baud: 9600", "baud: 19200\n    parity: even")

    assert load(HEAD + text).model.buses[0].endpoint.text == "/dev/rs485-A 19200 8E1"


def test_a_network_converter_and_modbus_tcp_are_told_apart() -> None:
    text = BUS.replace("device: /dev/rs485-A", "type: rtu-over-tcp\n    host: 10.0.0.5\n    port: 4001")
    plain = BUS.replace("device: /dev/rs485-A", "host: 10.0.0.5").replace("    baud: 9600\n", "")

    assert load(HEAD + text).model.buses[0].endpoint.text == "rtu-over-tcp 10.0.0.5:4001"
    assert load(HEAD + plain).model.buses[0].endpoint.text == "tcp 10.0.0.5:502"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("unit: 1", "unit: 300"), "gateway.yaml:10:"),
        (("unit: 1", "unit: -1"), "unit"),
        (("unit: 1", 'unit: "1"'), "unit"),
        (("unit: 1", "unit: true"), "unit"),
        (("unit: 1", "unti: 1"), "did you mean"),
        (("profile: eastron_sdm630", "profile: eastron_sdm63"), "eastron_sdm630"),
        (("profile: eastron_sdm630", "profile: netio_powerpdu_mqtt"), "mqtt_in"),
        (("company: acme", "company: Acme Ltd"), "company"),
        (("company: acme", "company: programme"), "reserved"),
        (("gateway: gw1", "gateway: trials"), "reserved"),
        (("gateway: gw1", "gateway: a/b"), "gateway"),
        (("version: 1", "version: 2"), "version"),
        (("mqtt://127.0.0.1:1883", "http://127.0.0.1"), "mqtt://"),
        (("mqtt://127.0.0.1:1883", "mqtt://me:secret@127.0.0.1"), "login"),
        (("baud: 9600", "baud: 9600\n    host: 10.0.0.1"), "either"),
        (("baud: 9600", "baud: 9600\n    parity: even\n    stop_bits: 2"), "one stop bit"),
        (("gateway: gw1", "gateway: gw1\ninterval: 0s"), "interval"),
        (("gateway: gw1", "gateway: gw1\ninterval: soon"), "10s"),
        (("gateway: gw1", "gateway: gw1\ntimezone: Europe/Sofiya"), "time zone"),
        (("role: main", "ct: 400"), "400/5"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(change: tuple[str, str], says: str) -> None:
    text = refused((HEAD + BUS).replace(*change))

    assert text.startswith("gateway.yaml:")
    assert says in text


def test_an_unknown_role_is_refused_at_its_place_with_the_roles_there_are_and_the_one_that_was_meant() -> None:
    text = refused((HEAD + BUS).replace("role: main", "role: maim"))
    meter = refused((HEAD + BUS).replace("role: main", "meters: [{meter: a, phase: l1, role: kitchen}]"))

    lines = text.splitlines()
    assert lines[0].startswith("gateway.yaml:10:60: ")  # 6 of indent, 3 + 10 + 25 + 9 + 6 before the value
    assert "main, it, ups_in, ups_out, pdu, cooling, lighting, pv, office, other, unassigned" in lines[0]
    assert lines[0].endswith("found 'maim'. did you mean 'main'?")
    assert lines[2].index("^") == lines[1].index("maim")
    assert "meters.0.role: expected one of main, it" in meter
    assert "did you mean" not in meter


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("gateway: gw1", "gateway: gw1\ninterval: 1ms"), "expected a time from 250ms to 1h, found 0.001s"),
        (("gateway: gw1", "gateway: gw1\ninterval: 9h"), "expected a time from 250ms to 1h, found 32400s"),
        (("gateway: gw1", "gateway: gw1\noutbox: {size: 5 kB}"), "expected at least 1 MB, found 5000 bytes"),
        (("baud: 9600", "type: usb"), "type: expected 'serial', 'tcp' or 'rtu-over-tcp', found 'usb'"),
    ],
)
def test_limits_are_said_in_the_units_that_people_write(change: tuple[str, str], says: str) -> None:
    assert says in refused((HEAD + BUS).replace(*change))


def test_the_limits_of_an_interval_themselves_are_taken() -> None:
    for text, ms in (("250ms", 250), ("1h", 3_600_000)):
        file = parse_yaml((HEAD + BUS).replace("gateway: gw1", f"gateway: gw1\ninterval: {text}"), "gateway.yaml")
        assert validate(GatewayModel, file).interval == ms


def test_everything_that_is_wrong_is_said_at_once() -> None:
    text = refused((HEAD + BUS).replace("unit: 1", "unit: 300").replace("baud: 9600", "baud: 5"))

    assert "unit" in text
    assert "baud" in text


def test_two_devices_with_one_address_or_one_id_are_refused_where_the_second_stands() -> None:
    more = "      - {id: ups, profile: eastron_sdm630, unit: 1}\n      - {id: main, profile: eastron_sdm630, unit: 3}\n"

    text = refused(HEAD + BUS + more)

    assert "gateway.yaml:11:" in text
    assert "unit 1 of /dev/rs485-A is main already" in text
    assert "gateway.yaml:12:" in text
    assert "the id main is taken" in text


def test_one_port_listed_as_two_buses_is_refused() -> None:
    second = BUS.removeprefix("buses:\n").replace("id: main", "id: two").replace("unit: 1", "unit: 2")

    assert "/dev/rs485-A is bus 1 already" in refused(HEAD + BUS + second)


def test_no_device_at_all_is_refused() -> None:
    assert "at least one bus" in refused(HEAD)


def test_a_plan_that_does_not_fit_is_refused_with_its_calculation() -> None:
    devices = "".join(f"      - {{id: m{n}, profile: eastron_sdm630, unit: {n}}}\n" for n in range(2, 32))

    text = refused(HEAD + BUS + devices)

    assert "of the time of this bus is needed" in text
    assert "main: 4 reads" in text or "main: 3 reads" in text or "main: 5 reads" in text or "main: 6 reads" in text
    assert "longer interval" in text
    load(HEAD + "interval: 60s\n" + BUS + devices)


class TestSecrets:
    def test_a_secret_stands_in_a_file_or_in_the_environment_only(self, tmp_path: Path) -> None:
        file = tmp_path / "password"
        file.write_text("correct horse\n")
        file.chmod(0o600)
        base = HEAD.replace("}", ", login: gw-7k3m9q2xwa, password: %s}") + BUS

        assert load(base % f"{{file: {file}}}").broker.password == "correct horse"
        assert load(base % "{env: PW}", {"PW": "battery staple"}).broker.password == "battery staple"

    def test_a_secret_in_the_file_itself_is_refused_and_never_repeated_by_the_message(self) -> None:
        text = refused(HEAD.replace("}", ", login: gw-1, password: hunter2-plain}") + BUS)

        assert "{file: PATH}" in text
        assert "hunter2" not in text

    def test_a_file_that_everybody_may_read_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "password"
        file.write_text("x")
        file.chmod(0o644)

        text = refused(HEAD.replace("}", f", login: gw-1, password: {{file: {file}}}}}") + BUS)

        assert "chmod 600" in text

    def test_a_variable_that_is_not_set_is_named(self) -> None:
        assert "PW is not set" in refused(HEAD.replace("}", ", login: gw-1, password: {env: PW}}") + BUS)

    def test_settings_do_not_show_the_password(self) -> None:
        settings = load(HEAD.replace("}", ", login: gw-1, password: {env: PW}}") + BUS, {"PW": "battery staple"})

        assert "battery staple" not in repr(settings)


class TestUnits:
    @pytest.mark.parametrize(
        ("text", "ms"),
        [("10s", 10_000), ("500ms", 500), ("5min", 300_000), ("5 m", 300_000), ("7d", 604_800_000), (2.5, 2500)],
    )
    def test_durations(self, text: object, ms: int) -> None:
        assert duration_ms(text) == ms

    def test_sizes_powers_currents_and_ratios(self) -> None:
        assert (size_bytes("500 MB"), size_bytes("1GB"), size_bytes(4096)) == (500_000_000, 10**9, 4096)
        assert (power_w("12 kW"), power_w("500W"), power_w(7)) == (12_000.0, 500.0, 7.0)
        assert (current_a("63 A"), current_a(16)) == (63.0, 16.0)
        assert (ct("400/5"), ct("250 / 5 A")) == ((400.0, 5.0), (250.0, 5.0))

    @pytest.mark.parametrize("bad", ["", "s", "-1s", "1 week", True, None, [1]])
    def test_what_is_no_duration_is_refused(self, bad: object) -> None:
        with pytest.raises(ValueError, match="expected a time"):
            duration_ms(bad)

    @pytest.mark.parametrize("bad", ["400", "0/5", "400/0", "a/b", 80, None])
    def test_what_is_no_ratio_is_refused(self, bad: object) -> None:
        with pytest.raises(ValueError, match="400/5"):
            ct(bad)


def test_the_data_folder_is_the_option_or_a_variable(tmp_path: Path) -> None:
    assert data_folder(tmp_path, {"MERILO_DATA": "/x"}) == tmp_path
    assert data_folder(None, {"MERILO_DATA": "/x", "STATE_DIRECTORY": "/y"}) == Path("/x")
    assert data_folder(None, {"STATE_DIRECTORY": "/y:/z"}) == Path("/y")
