"""Decisions: append-only, revocable, and each marks the rows it speaks of."""

from __future__ import annotations

import pytest

from merilo.decisions import Decision
from merilo.errors import ConflictError, NotFoundError, RegistryError
from merilo.ids import DeviceKey, MeterKey, RegisterKey
from merilo.instants import DAY_MS, HOUR_MS, QUARTER_MS
from merilo_adapters.registry import FORM, DecisionRecord, Registry, Work
from registry_parts import GATEWAY, MAIN, MAIN_IMPORT, NOW

METER = MeterKey("acme", "hq", "main")


@pytest.fixture
def metered(registry: Registry) -> Registry:
    """One device with its default meter."""
    registry.see_devices([MAIN], NOW)
    return registry


def scale(**given: object) -> DecisionRecord:
    plain: dict[str, object] = {
        "kind": "scale",
        "register": MAIN_IMPORT,
        "from_ms": NOW - DAY_MS,
        "to_ms": NOW,
        "parameters": {"factor": 1.5},
        "reason": "CT 150/5 was entered as 100/5",
        "author": "maria",
        "created_ms": NOW,
    }
    return DecisionRecord(**{**plain, **given})  # type: ignore[arg-type]  # a table of attributes


def test_a_decision_is_kept_and_given_to_the_domain(metered: Registry, work: Work) -> None:
    before = metered.version()

    record = metered.add_decision(scale(evidence="https://example.org/photo"))

    assert metered.version() == before + 1
    assert metered.decision_records("acme", "hq") == [record]
    assert metered.decisions("acme", "hq", device=MAIN, register=MAIN_IMPORT.register) == [
        Decision(
            id=record.number,
            kind="scale",
            target=MAIN_IMPORT,
            from_ms=NOW - DAY_MS,
            to_ms=NOW,
            parameters={"factor": 1.5},
            created_ms=NOW,
        )
    ]
    [found] = work.pending(10)
    assert found[:3] == (RegisterKey(*MAIN, FORM), NOW - DAY_MS, NOW)


def test_a_revoked_decision_stays_and_marks_its_rows_again(metered: Registry, work: Work) -> None:
    record = metered.add_decision(scale())
    work.finished([found.key for found in work.take([work.pending(1)[0].key])])

    metered.revoke_decision(record.number, NOW + HOUR_MS, "ivan")

    [found] = metered.decision_records("acme")
    assert (found.revoked_ms, found.revoked_by) == (NOW + HOUR_MS, "ivan")
    assert [one.revoked for one in metered.decisions("acme")] == [True]
    assert [one[:3] for one in work.pending(10)] == [(RegisterKey(*MAIN, FORM), NOW - DAY_MS, NOW)]
    with pytest.raises(ConflictError, match="is revoked already"):
        metered.revoke_decision(record.number, NOW)


def test_the_reason_of_a_revocation_is_kept_with_the_decision_it_revokes(metered: Registry) -> None:
    numbers = [metered.add_decision(scale()).number for _ in range(3)]
    metered.revoke_decision(numbers[0], NOW, "ivan", "wrong plate")
    metered.revoke_decision(numbers[1], NOW, "ivan")

    assert metered.revoke_reasons(numbers) == {numbers[0]: "wrong plate"}
    assert metered.revoke_reasons([]) == {}
    metered.revoke_decision(numbers[2], NOW, "ivan", "x" * 400)
    with pytest.raises(RegistryError, match="at most 400"):
        metered.revoke_decision(numbers[2], NOW, "ivan", "x" * 401)


def test_energy_set_on_a_meter_marks_the_devices_behind_it(metered: Registry, work: Work) -> None:
    metered.add_decision(
        scale(kind="set_energy", register=None, meter=METER, parameters={"energy_wh": 5e6}, from_ms=0, to_ms=DAY_MS)
    )

    assert [one[:3] for one in work.pending(10)] == [(RegisterKey(*MAIN, FORM), 0, DAY_MS)]
    assert [one.target for one in metered.decisions("acme", meter="main")] == [METER]
    assert metered.decisions("acme", meter="other") == []


def test_the_row_that_holds_an_instant_is_marked_whole(metered: Registry, work: Work) -> None:
    at_ms = NOW + QUARTER_MS + 5
    swap = {"final_wh": 100.0, "first_wh": 0.0}

    metered.add_decision(scale(kind="swap", parameters=swap, from_ms=at_ms, to_ms=at_ms))

    assert [one[:3] for one in work.pending(10)] == [(RegisterKey(*MAIN, FORM), NOW + QUARTER_MS, at_ms)]


def test_numbers_rise_in_the_order_of_creation(metered: Registry) -> None:
    numbers = [metered.add_decision(scale(reason=f"no. {n}")).number for n in range(3)]

    assert numbers == sorted(set(numbers))
    assert [one.number for one in metered.decision_records("acme")] == numbers


@pytest.mark.parametrize(
    ("message", "wrong"),
    [
        ("kind", {"kind": "guess"}),
        ("factor", {"parameters": {}}),
        ("factor", {"parameters": {"factor": 0.0}}),
        ("unknown", {"parameters": {"factor": 1.0, "extra": 1.0}}),
        ("empty", {"to_ms": NOW - DAY_MS}),
        ("20 years", {"from_ms": 0, "to_ms": 21 * 366 * DAY_MS}),
        ("reason", {"reason": "  "}),
        ("either a register or a meter", {"register": None}),
        ("either a register or a meter", {"meter": METER}),
    ],
)
def test_a_decision_refuses_nonsense_when_built(message: str, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=message):
        scale(**wrong)


def test_a_decision_about_what_is_not_there_is_refused(metered: Registry) -> None:
    ghost = RegisterKey(*DeviceKey(*GATEWAY, "ghost"), MAIN_IMPORT.register)

    with pytest.raises(NotFoundError, match="device acme/hq/gw1/ghost"):
        metered.add_decision(scale(register=ghost))
    with pytest.raises(NotFoundError, match="meter acme/hq/ghost"):
        metered.add_decision(
            scale(
                kind="set_energy",
                register=None,
                meter=MeterKey("acme", "hq", "ghost"),
                parameters={"energy_wh": 1.0},
            )
        )
    with pytest.raises(NotFoundError, match="decision 99"):
        metered.revoke_decision(99, NOW)
