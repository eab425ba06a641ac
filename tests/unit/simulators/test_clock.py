"""The clock all programs share: real, or a past one that runs faster until it has caught up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merilo.errors import ConfigError
from merilo_adapters.clock import Clock

REAL = 1_800_000_000_000


def clock(text: str, real_ms: int) -> Clock:
    return Clock.from_text(text, real_now_ms=lambda: real_ms)


@pytest.mark.parametrize("text", [None, "", "  "])
def test_no_text_is_real_time(text: str | None) -> None:
    found = Clock.from_text(text, real_now_ms=lambda: REAL)

    assert found.now_ms() == REAL
    assert found.sleep_real_s(10) == 10
    assert found.to_text() == ""


def test_a_past_clock_runs_at_its_rate() -> None:
    # 1 h behind, 60 times faster: after 10 s of real time 600 s have passed.
    found = clock(f"{REAL - 3_600_000}:{REAL}:60", REAL + 10_000)

    assert found.now_ms() == REAL - 3_600_000 + 600_000


def test_a_clock_that_caught_up_is_real_time_and_never_ahead() -> None:
    found = clock(f"{REAL - 60_000}:{REAL}:60", REAL + 3_600_000)

    assert found.now_ms() == REAL + 3_600_000


def test_waits_shrink_by_the_rate_while_behind() -> None:
    found = clock(f"{REAL - 3_600_000}:{REAL}:60", REAL)

    assert found.sleep_real_s(60) == pytest.approx(1.0)


def test_a_wait_across_the_moment_of_catching_up_counts_the_rest_in_full() -> None:
    # 59 s behind at rate 60: caught up after 1 s of real time, which shows 60 s; 100 s more are real ones.
    found = clock(f"{REAL - 59_000}:{REAL}:60", REAL)

    assert found.sleep_real_s(160) == pytest.approx(101.0)


@pytest.mark.parametrize(
    "text", ["1:2", "1:2:3:4", "a:2:3", "1:2:x", "1:2:0", "1:2:-1", "1:2:nan", "1:2:inf", "1:2:1e7"]
)
def test_a_wrong_text_says_what_to_write(text: str) -> None:
    with pytest.raises(ConfigError, match="start_ms:real_start_ms:rate"):
        Clock.from_text(text)


@given(
    behind_ms=st.integers(0, 10**10),
    rate=st.floats(0.5, 5000),
    wait_s=st.floats(0, 10**5),
    run_ms=st.integers(0, 10**8),
)
def test_after_the_wait_the_clock_shows_the_awaited_instant(
    behind_ms: int, rate: float, wait_s: float, run_ms: int
) -> None:
    start = Clock(start_ms=REAL - behind_ms, real_start_ms=REAL, rate=rate, real_now_ms=lambda: REAL + run_ms)
    target_ms = start.now_ms() + wait_s * 1000

    wake_ms = REAL + run_ms + start.sleep_real_s(wait_s) * 1000
    later = Clock(start_ms=REAL - behind_ms, real_start_ms=REAL, rate=rate, real_now_ms=lambda: int(wake_ms) + 2)

    assert later.now_ms() >= target_ms - 1


def test_text_and_clock_are_a_pair() -> None:
    text = f"{REAL - 1000}:{REAL}:12.5"

    assert Clock.from_text(text).to_text() == text
