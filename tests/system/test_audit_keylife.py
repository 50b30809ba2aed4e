"""kms-audit follows the life of keys: no signature out of turn, no change that the key's state does not allow, no removal that was not due."""
import pytest

import auditlog
from test_audit import check, keys, log, original  # noqa: F401 (fixtures)

DAY = 86400
ORDER = {"delay_seconds": 10}


def found(log, folder):  # noqa: F811
    return check(log, folder)["found"]


def grow(log, seconds):  # noqa: F811
    """Time passes in the log: a record a second."""
    for _ in range(seconds):
        log.refused()


def test_a_whole_life(log, tmp_path):  # noqa: F811
    log.sign("2.0.2")
    log.life("suspend", "suspended")
    log.life("resume", "active")
    log.sign("2.0.3")
    log.life("suspend", "suspended")
    log.life("destroy", "destroying", asked={"delay_hours": 24}, delay=DAY)
    log.life("restore", "suspended")
    log.life("retire", "retired")
    log.life("destroy", "destroying", delay=DAY)
    log.life("compromise", "destroying")
    log.life("restore", "retired")
    log.life("destroy", "destroying", asked=ORDER, delay=10)
    grow(log, 10)
    intent = log.erase()["seq"]
    log.erase("error", intent)
    log.erase("ok", intent)
    report = check(log, tmp_path, "--head", log.head())
    assert report["found"] == [] and report["exit"] == 0
    assert [n for n in report["notes"]] == ["record 69: key release was marked compromised; whatever it signed deserves a look",
                                            f"record {intent + 1}: key release could not be removed from the token at once"]


@pytest.mark.parametrize("copyable", [False, True])
def test_what_may_be_left_of_a_destroyed_key(log, tmp_path, copyable):  # noqa: F811
    """A token may hold a second object of a key that could be copied; the proof of its removal does not know it."""
    result = log.key_result(log.key_intent("fresh", "03" * 16), log.keys.spki["spare"])
    result["detail"]["birth"] = dict(result["detail"]["birth"], copyable=copyable, modifiable=copyable)
    log.rechain(len(log.lines) - 1)
    log.life("suspend", "suspended", name="fresh")
    log.life("destroy", "destroying", name="fresh", asked=ORDER, delay=10)
    grow(log, 10)
    log.erase("ok", log.erase(name="fresh", key_id="03" * 16)["seq"], name="fresh", key_id="03" * 16)
    report = check(log, tmp_path)
    assert report["found"] == [] and any("key fresh could be copied" in note for note in report["notes"]) == copyable, report


@pytest.mark.parametrize("changes", [
    [("suspend", "suspended")], [("retire", "retired")], [("compromise", "retired")], [("suspend", "suspended"), ("compromise", "retired")],
])
def test_a_signature_out_of_turn(log, tmp_path, changes):  # noqa: F811
    for verb, state in changes:
        log.life(verb, state)
    at = log.sign("2.0.2")["seq"]
    report = check(log, tmp_path)
    assert report["found"] == [("invalid", at, at)] and "key release" in report["findings"][0]["reason"]


def test_a_signature_of_a_destroyed_key(log, tmp_path):  # noqa: F811
    log.life("suspend", "suspended")
    log.life("destroy", "destroying", asked=ORDER, delay=10)
    first = log.sign("2.0.2")["seq"]
    grow(log, 9)
    log.erase("ok", log.erase()["seq"])
    last = log.sign("2.0.3")["seq"]
    assert found(log, tmp_path) == [("invalid", first, first), ("invalid", last, last)]


def test_a_lost_record_accuses_nobody(log, tmp_path):  # noqa: F811
    """Where the resumption stood there is a hole: what follows cannot be judged by it."""
    log.life("suspend", "suspended")
    log.life("resume", "active")
    log.sign("2.0.2")
    del log.lines[61]
    report = check(log, tmp_path)
    assert report["exit"] == 1 and ("missing", 61, 61) in report["found"]
    assert not any(f["kind"] == "invalid" for f in report["findings"])


@pytest.mark.parametrize("before, verb, state", [
    ([], "resume", "active"), ([], "restore", "active"), ([], "destroy", "destroying"), ([], "suspend", "retired"), ([], "compromise", "active"),
    ([("retire", "retired")], "resume", "active"), ([("retire", "retired")], "suspend", "suspended"), ([("retire", "retired")], "retire", "retired"),
    ([("compromise", "retired")], "compromise", "retired"), ([("compromise", "retired")], "resume", "active"),
    ([("suspend", "suspended")], "suspend", "suspended"), ([("suspend", "suspended")], "resume", "suspended"),
])
def test_a_change_that_the_state_does_not_allow(log, tmp_path, before, verb, state):  # noqa: F811
    for change in before:
        log.life(*change)
    at = log.life(verb, state, delay=DAY if verb == "destroy" else None)["seq"]
    assert found(log, tmp_path) == [("invalid", at, at)]


@pytest.mark.parametrize("asked", [{"reason": "another"}, {"more": 1}, {"delay_hours": 24}])
def test_a_change_other_than_signed(log, tmp_path, asked):  # noqa: F811
    at = log.life("suspend", "suspended", asked=asked)["seq"]
    assert found(log, tmp_path) == [("invalid", at, at)]


def test_a_change_of_another_key_than_signed(log, tmp_path):  # noqa: F811
    record = log.life("suspend", "suspended", name="other")
    record["key"]["name"] = "release"
    log.lines[-1] = auditlog.canonical(record)
    assert found(log, tmp_path) == [("invalid", 60, 60)]


def test_a_change_of_a_key_that_was_never_created(log, tmp_path):  # noqa: F811
    log.life("suspend", "suspended", name="ghost")
    log.erase(name="ghost")
    assert found(log, tmp_path) == [("invalid", 60, 61)]


@pytest.mark.parametrize("asked, delay", [
    ({}, 10), ({"delay_hours": 25}, DAY), ({"delay_hours": 24}, 25 * 3600), (ORDER, 9), (ORDER, 11), ({"delay_hours": 24, "delay_seconds": DAY}, DAY),
    ({"delay_hours": "24"}, DAY), ({"more": 1}, DAY), ({"delay_hours": 8761}, 8761 * 3600),
])
def test_a_destruction_at_another_moment_than_signed(log, tmp_path, asked, delay):  # noqa: F811
    log.life("suspend", "suspended")
    at = log.life("destroy", "destroying", asked=asked, delay=delay)["seq"]
    assert found(log, tmp_path) == [("invalid", at, at)]


def suspended_in_production(keys):  # noqa: F811
    """A log outside development whose release key is suspended."""
    log = auditlog.Log(keys)  # noqa: F811
    log.genesis()
    log.records[0]["detail"]["mode"] = "production"
    log.rechain(0)
    log.key_result(log.key_intent("release", "01" * 16), keys.spki["release"])
    log.life("suspend", "suspended")
    return log


def test_days_ahead_outside_development(keys, tmp_path):  # noqa: F811
    log = suspended_in_production(keys)
    log.life("destroy", "destroying", asked=ORDER, delay=10)
    assert found(log, tmp_path) == [("invalid", 4, 4)]


def ordered(log):  # noqa: F811
    log.life("suspend", "suspended")
    log.life("destroy", "destroying", asked=ORDER, delay=10)


@pytest.mark.parametrize("wait", [0, 8])
def test_a_removal_before_it_is_due(log, tmp_path, wait):  # noqa: F811
    ordered(log)
    grow(log, wait)
    at = log.erase()["seq"]
    assert found(log, tmp_path) == [("invalid", at, at)]


def test_a_removal_while_the_clock_is_in_doubt(log, tmp_path):  # noqa: F811
    ordered(log)
    log.step()
    grow(log, 10)
    at = log.erase()["seq"]
    assert found(log, tmp_path) == [("invalid", at, at)]


def test_removals_that_nobody_ordered(log, tmp_path):  # noqa: F811
    first = log.erase()["seq"]
    log.erase("ok", 59)
    assert found(log, tmp_path) == [("invalid", first, first), ("invalid", first + 1, first + 1)]


def test_a_removal_begun_or_ended_twice(log, tmp_path):  # noqa: F811
    ordered(log)
    grow(log, 10)
    intent = log.erase()["seq"]
    assert log.erase()["seq"] == intent + 1
    log.erase("ok", intent + 1)
    log.erase("ok", intent + 1)
    log.life("restore", "suspended")
    assert found(log, tmp_path) == [*(("invalid", at, at) for at in (intent + 1, intent + 3, intent + 4))]


@pytest.mark.parametrize("members", [{"left": 1}, {"key_id": "02" * 16}])
def test_a_false_proof(log, tmp_path, members):  # noqa: F811
    ordered(log)
    grow(log, 10)
    at = log.erase("ok", log.erase()["seq"], **members)["seq"]
    assert found(log, tmp_path) == [("invalid", at, at)]


def test_a_removal_by_somebody(log, tmp_path):  # noqa: F811
    ordered(log)
    grow(log, 10)
    record = log.erase()
    record["actor"] = log.ADMIN
    record["req"] = "ab" * 16
    log.lines[-1] = auditlog.canonical(record)
    assert found(log, tmp_path) == [("invalid", record["seq"], record["seq"])]


@pytest.mark.parametrize("minutes, sound", [(4, False), (12, True)])
def test_a_removal_right_after_a_start(keys, tmp_path, minutes, sound):  # noqa: F811
    """Outside development a start waits ten minutes, of which a step of the clock that is too small to be one may hide five."""
    log = suspended_in_production(keys)
    log.life("destroy", "destroying", delay=DAY)
    log.start()
    log.records[-1]["time"] = "2026-03-06T08:00:00.000000Z"
    at = log.erase()["seq"]
    log.records[-1]["time"] = "2026-03-06T08:%02d:00.000000Z" % minutes
    log.rechain(1)
    assert found(log, tmp_path) == ([] if sound else [("invalid", at, at)])
