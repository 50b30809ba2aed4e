"""The wall clock is set under a running service: signatures go on, the log never goes back, the step is recorded once and can be confirmed."""
import datetime
import json

import pytest

from clock import Clock
from kms import BIN, Instance, run

HOUR = 3600


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    return Clock(tmp_path_factory.mktemp("clock"))


@pytest.fixture
def kms(clock, tmp_path):
    clock.set(0)
    with Instance(tmp_path / "dir", environment=clock.environment) as instance:
        yield instance


def moment(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc).timestamp()


def steps(kms):
    return kms.records(event="time.step")


def status(kms, door="admin"):
    answer = kms.request(door, "GET", "/v1/status", cert=kms.admin)
    assert answer.status == 200, answer
    return answer.json["time"]


def sign(kms, version):
    answer = kms.sign(version)
    assert answer.status == 200, answer
    return kms.record_of(answer)


def confirm(kms, seq, reason="set by hand", **more):
    return kms.signed("POST", "/v1/time/confirm", {"seq": seq, "reason": reason}, **more)


def is_sound(kms):
    kms.check_chain()
    times = [record["time"] for record in kms.records()]
    assert times == sorted(times)
    report = run(BIN / "kms-audit", "verify", kms.dir / "audit", check=False)
    assert report.returncode == 0, report.stdout + report.stderr
    return report.stdout.decode()


def test_an_hour_forth_and_back(kms, clock):
    before = sign(kms, "1.0.0")
    assert status(kms) == {"frozen": False} and not steps(kms)
    clock.set(HOUR)
    kms.wait(lambda: len(steps(kms)) == 1, what="the step forward")
    ahead = sign(kms, "1.0.1")
    assert HOUR - 5 < moment(ahead["time"]) - moment(before["time"]) < HOUR + 60
    clock.set(0)
    kms.wait(lambda: len(steps(kms)) == 2, what="the step back")
    behind = sign(kms, "1.0.2")
    assert behind["time"] >= ahead["time"] and moment(behind["time"]) - moment(ahead["time"]) < 60
    assert sign(kms, "1.0.3")["detail"]["issued"] >= behind["detail"]["issued"]
    forth, back = steps(kms)
    for step, sign_of in ((forth, 1), (back, -1)):
        detail = step["detail"]
        assert abs(detail["seconds"] - sign_of * HOUR) <= 1 and step["actor"]["kind"] == "system" and step["outcome"] == "ok"
        assert abs(moment(detail["to"]) - moment(detail["from"]) - detail["seconds"]) < 1
    assert status(kms) == status(kms, "ci") == {"frozen": True, "step": back["seq"]}

    refused = confirm(kms, forth["seq"])
    assert (refused.status, refused.slug) == (409, "step-not-open")
    assert kms.record_of(refused)["outcome"] == "denied"
    done = confirm(kms, back["seq"], headers={"Idempotency-Key": "confirm-1"})
    assert done.status == 200
    record = kms.record_of(done)
    assert (record["event"], record["reason"], record["detail"], record["actor"]["name"]) == (
        "time.confirm", "set by hand", {"seq": back["seq"]}, kms.admin.name)
    assert status(kms) == {"frozen": False}
    assert confirm(kms, back["seq"], headers={"Idempotency-Key": "confirm-1"}).body == done.body
    assert confirm(kms, back["seq"]).slug == "step-not-open"
    assert len(steps(kms)) == 2
    assert is_sound(kms).count("the clock was set by") == 2


def test_what_is_no_step(kms, clock):
    clock.set(290)
    sign(kms, "1.0.0")
    clock.set(-5)
    sign(kms, "1.0.1")
    clock.set(250)
    sign(kms, "1.0.2")
    assert not steps(kms) and status(kms) == {"frozen": False}
    clock.set(320)
    kms.wait(lambda: steps(kms), what="small steps that add up")
    assert 318 <= steps(kms)[0]["detail"]["seconds"] <= 320
    is_sound(kms)


def test_a_frozen_time_survives_a_restart_and_kmsctl_confirms_it(kms, clock):
    clock.set(2 * HOUR)
    step = kms.wait(lambda: steps(kms), what="the step")[0]
    kms.stop()
    kms.start()
    assert status(kms) == {"frozen": True, "step": step["seq"]} and len(steps(kms)) == 1
    told = json.loads(kms.kmsctl("status", "-o", "json", env=kms.env).stdout)
    assert told["time"] == {"frozen": True, "step": step["seq"]}
    wrong = kms.kmsctl("time", "confirm", "--seq", step["seq"] + 1, "--reason", "x", env=kms.env, check=False)
    assert wrong.returncode != 0 and b"record %d" % step["seq"] in wrong.stderr
    assert kms.kmsctl("time", "confirm", "--seq", "1x", "--reason", "x", env=kms.env, check=False).returncode == 2
    assert kms.kmsctl("time", "confirm", "--seq", step["seq"], env=kms.env, check=False).returncode == 2
    kms.kmsctl("time", "confirm", "--seq", step["seq"], "--reason", "battery of the clock replaced", env=kms.env)
    assert status(kms) == {"frozen": False}
    is_sound(kms)


def test_certificates_are_judged_by_the_clock_as_it_is(kms, clock):
    """Fifty days ahead a certificate for forty has expired; once the clock is right again, it serves, though the log stays fifty days ahead."""
    client = kms.new_identity("short", days=40)
    def whoami():
        try:
            return kms.request("ci", "GET", "/v1/whoami", cert=client).status
        except OSError:
            return "refused in the handshake"

    assert whoami() == 200
    clock.set(50 * 24 * HOUR)
    kms.wait(lambda: len(steps(kms)) == 1, what="the step forward")
    assert whoami() in (403, "refused in the handshake")
    clock.set(0)
    kms.wait(lambda: len(steps(kms)) == 2, what="the step back")
    assert whoami() == 200
    assert kms.request("ci", "GET", "/v1/whoami", cert=kms.new_identity("made-behind")).status == 200
    is_sound(kms)


def test_confirmations_that_are_refused(kms):
    assert confirm(kms, 5).slug == "step-not-open"
    for body in ({"seq": 5}, {"reason": "x"}, {"seq": "5", "reason": "x"}, {"seq": -1, "reason": "x"}, {"seq": 5, "reason": "x", "more": 1}):
        assert kms.signed("POST", "/v1/time/confirm", body).status == 400
    assert kms.request("admin", "POST", "/v1/time/confirm", {"seq": 5, "reason": "x"}).status == 401
    assert kms.request("ci", "POST", "/v1/time/confirm", {"seq": 5, "reason": "x"}).status == 404
    other = kms.new_identity("somebody", kind="human")
    assert confirm(kms, 5, cert=other).status == 403
