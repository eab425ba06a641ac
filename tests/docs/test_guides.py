"""The guides are executed: what a newcomer types is what the test runs, on a simulated meter on a serial line."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from real import free_port

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
MERILO = [sys.executable, "-m", "merilo_cli.main"]
DEVICE = "/dev/ttyUSB0"


def blocks(text: str, language: str) -> list[str]:
    """The fenced code blocks of one language, without the indentation of their list item."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.M | re.S)
    return ["\n".join(line.removeprefix(pad) for line in body.splitlines()) for pad, body in found]


@pytest.mark.parametrize("english", [DOCS / "first-meter.md", ROOT / "README.md"])
def test_both_languages_have_the_same_steps_the_same_chapters_and_the_same_commands(english: Path) -> None:
    texts = [english.read_text(encoding="utf-8"), english.with_suffix(".bg.md").read_text(encoding="utf-8")]

    steps = [re.findall(r"^(\d+)\. ", text, re.M) for text in texts]
    chapters = [len(re.findall(r"^#+ ", text, re.M)) for text in texts]

    assert steps[0] == steps[1]
    assert len(steps[0]) <= 8
    assert chapters[0] == chapters[1]
    for language in ("sh", "yaml"):
        assert blocks(texts[0], language) == blocks(texts[1], language)


def test_the_readme_shows_both_commands_and_the_same_file_as_the_guide() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    commands = "\n".join(blocks(readme, "sh"))

    assert "make demo" in commands
    assert "make test" in commands
    assert blocks(readme, "yaml") == blocks((DOCS / "first-meter.md").read_text(encoding="utf-8"), "yaml")


@pytest.mark.parametrize("page", [*DOCS.glob("*.md"), *ROOT.glob("*.md"), ROOT / "firmware_config" / "README.md"])
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.fixture
def meter(tmp_path: Path) -> Iterator[Path]:
    """A simulated SDM630 on a serial line whose name is in the test's folder."""
    port, ready = tmp_path / "ttyUSB0", tmp_path / "ready.json"
    command = [*MERILO, "simulators", "run", "--link", str(port), "--ready", str(ready)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        end = time.monotonic() + 40
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        yield port
        process.send_signal(signal.SIGTERM)


def test_the_first_meter_guide_leads_from_a_serial_line_to_numbers_on_the_page(tmp_path: Path, meter: Path) -> None:
    guide = (DOCS / "first-meter.md").read_text(encoding="utf-8")
    commands = [line for block in blocks(guide, "sh") for line in block.splitlines()]
    page_port = free_port()
    site = tmp_path / "site.yaml"
    (text,) = blocks(guide, "yaml")
    site.write_text(text.replace(DEVICE, str(meter)) + f"\nhttp: {{port: {page_port}}}\n", encoding="utf-8")
    environment = {**os.environ, "MERILO_DATA": str(tmp_path / "data")}

    def arguments(word: str) -> list[str]:
        (line,) = [c for c in commands if f"merilo {word}" in c]
        return [*MERILO, *line.split()[1:]]

    read = subprocess.run(
        [*arguments("gateway read"), "--json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    first = [json.loads(line) for line in read.stdout.splitlines()]
    with subprocess.Popen(arguments("up"), cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as up:
        try:
            power = _wait_for_power(page_port, up)
            confirm = subprocess.run(
                arguments("meter confirm"), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            page = _get(f"http://127.0.0.1:{page_port}/?lang=en")
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(30)

    assert any("active_energy_import_wh" in json.dumps(row) for row in first)
    assert power > 0
    assert confirm.returncode == 0, confirm.stderr
    assert "Acme Ltd" in page
    assert "main" in page
    assert up.returncode == 0


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
        return body.decode("utf-8")


def _wait_for_power(port: int, up: subprocess.Popen[str]) -> float:
    """The first live power that the API gives: within two minutes of the clock, since it appears once a minute."""
    end = time.monotonic() + 100
    while time.monotonic() < end:
        assert up.poll() is None, up.stderr.read() if up.stderr else ""
        try:
            found = json.loads(_get(f"http://127.0.0.1:{port}/v1/companies/acme/sites/hq/series?last=1h"))
        except OSError:
            found = {"series": []}
        values = [value for one in found["series"] for value in one["value"] if value is not None]
        if values:
            return float(values[-1])
        time.sleep(0.5)
    raise AssertionError("no live power within 100 s")
