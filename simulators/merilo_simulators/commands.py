"""``merilo simulators …``: devices on loopback, their past, and what truly flowed."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from merilo.errors import ConfigError
from merilo.instants import to_ms
from merilo_adapters.clock import Clock
from merilo_simulators.tcp import Unknown

app = typer.Typer(help="Simulated meters and power strips with known true energy.", no_args_is_help=True)

Seed = Annotated[int, typer.Option(help="The same seed gives the same company, devices and values.", min=0)]
From = Annotated[str, typer.Option("--from", help="Start, ISO 8601 with zone, included.")]
To = Annotated[str, typer.Option("--to", help="End, ISO 8601 with zone, excluded.")]


def _instant(option: str, text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(option, f"{text!r} is not an ISO 8601 instant", "Write 2026-11-01T00:00:00Z") from None
    if at.tzinfo is None:
        raise ConfigError(option, f"{text!r} has no time zone", "Write 2026-11-01T00:00:00Z")
    return to_ms(at)


@app.command()
def run(
    site: Annotated[str, typer.Option(help="Which company: example.")] = "example",
    seed: Seed = 1,
    ready: Annotated[Path | None, typer.Option(help="Write ports, paths and topics to this JSON file.")] = None,
    clock: Annotated[
        str, typer.Option(envvar="MERILO_CLOCK", help="start_ms:real_start_ms:rate; empty: real time.")
    ] = "",
    baud: Annotated[int, typer.Option(help="Pace the serial line at this speed; 0: as fast as the machine.")] = 0,
    response_ms: Annotated[int, typer.Option(help="Turnaround of devices on the serial line, in ms.", min=0)] = 0,
    unknown: Annotated[
        str, typer.Option(help="Answer for a unit that is not on the TCP gateway: silent or exception.")
    ] = "exception",
    link: Annotated[Path | None, typer.Option(help="Keep this symbolic link on the serial port.")] = None,
    mqtt_host: Annotated[str, typer.Option(help="Broker for the strip pdu1; empty: it does not publish.")] = "",
    mqtt_port: Annotated[int, typer.Option(help="Port of that broker.")] = 1883,
    mqtt_topic: Annotated[str, typer.Option(help="Topic of the strip.")] = "netio/pdu1",
    mqtt_user: Annotated[str | None, typer.Option(help="Login at the broker.")] = None,
    mqtt_password: Annotated[
        str | None, typer.Option(envvar="MERILO_SIMULATORS_MQTT_PASSWORD", help="Password at the broker.")
    ] = None,
    mqtt_interval_s: Annotated[float, typer.Option(help="Period of the strip's messages, in seconds.", min=0.1)] = 10.0,
) -> None:
    """Put the devices of a simulated company on loopback ports and a pseudo-terminal, until SIGTERM or SIGINT."""
    from merilo_simulators.run import SITES, Options, serve

    if site not in SITES:
        raise ConfigError("--site", f"{site!r} is not one of {', '.join(SITES)}")
    if baud and not 1200 <= baud <= 115_200:
        raise ConfigError("--baud", f"{baud} is outside 1200..115200", "Write 0 for an unpaced line")
    choices: dict[str, Unknown] = {"silent": "silent", "exception": "exception"}
    if unknown not in choices:
        raise ConfigError("--unknown", f"{unknown!r} is not one of {', '.join(choices)}")
    options = Options(
        seed=seed,
        clock=Clock.from_text(clock),
        baud=baud,
        response_ms=response_ms,
        unknown=choices[unknown],
        mqtt_host=mqtt_host,
        mqtt_port=mqtt_port,
        mqtt_topic=mqtt_topic,
        mqtt_user=mqtt_user,
        mqtt_password=mqtt_password,
        mqtt_interval_s=mqtt_interval_s,
        link=link,
    )
    asyncio.run(serve(options, ready))


@app.command()
def history(
    start: From,
    end: To,
    seed: Seed = 1,
    interval_s: Annotated[float, typer.Option(help="Time between two readings, in seconds.", min=0.001)] = 60.0,
) -> None:
    """Print what a gateway would have read: one JSON object a line with device, at_ms and values."""
    from merilo_simulators.history import history as readings

    encode = msgspec.json.Encoder().encode
    write = sys.stdout.buffer.write
    for device, at_ms, values in readings(
        seed, _instant("--from", start), _instant("--to", end), round(interval_s * 1000)
    ):
        write(encode({"device": device, "at_ms": at_ms, "values": values}) + b"\n")
    sys.stdout.buffer.flush()


@app.command()
def truth(start: From, end: To, seed: Seed = 1) -> None:
    """Print the true energy of every circuit in [from, to) as one JSON object: circuit to mWh."""
    from merilo_simulators.physics import CIRCUITS
    from merilo_simulators.truth import truth as true_mwh

    start_ms, end_ms = _instant("--from", start), _instant("--to", end)
    found = {circuit: true_mwh(seed, circuit, start_ms, end_ms) for circuit in CIRCUITS}
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")


@app.command()
def fill(
    outbox: Annotated[Path, typer.Argument(help="Outbox file of a gateway that does not run.")],
    start: From,
    end: To,
    seed: Seed = 1,
    interval_s: Annotated[float, typer.Option(help="Time between two readings, in seconds.", min=0.001)] = 300.0,
) -> None:
    """Fill a gateway's outbox as an outage of that length would have left it; prints how many readings."""
    from merilo_simulators.fill import fill as fill_outbox

    def progress(share: float) -> None:
        print(f"{share:.3f}", file=sys.stderr, flush=True)

    count = fill_outbox(
        outbox, seed, _instant("--from", start), _instant("--to", end), round(interval_s * 1000), progress
    )
    print(count)
