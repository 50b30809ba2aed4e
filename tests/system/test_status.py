"""kmsctl status: what it says is so, and what needs somebody is said with what to do."""
import json
import os
import re
import time

import pytest

from clock import Clock
from kms import Instance


@pytest.fixture(scope="module")
def kms(tmp_path_factory):
    """One of its own: what other tests leave behind would be warned of and counted."""
    with Instance(tmp_path_factory.mktemp("own") / "dir") as instance:
        yield instance


# An instrumented build has no sandbox, and says so.
UNCONFINED = "a process is not confined" if "ASAN_OPTIONS" in os.environ else None


def document(kms):
    status = json.loads(kms.kmsctl("status", "-o", "json", env=kms.env).stdout)
    return dict(status, warnings=[warning for warning in status["warnings"] if warning["what"] != UNCONFINED])


def table(kms, env=None):
    said = kms.kmsctl("status", "-o", "table", env=env or kms.env).stdout.decode()
    return re.sub(rf"\n*warning: {UNCONFINED}\n +set .*\n", "\n", said) if UNCONFINED else said


def test_the_document(kms):
    kms.sign("1.0.0", app=f"com.example.status{time.time_ns()}")
    kms.wait(lambda: document(kms)["ready"], 5, "readiness")
    status, api = document(kms), kms.request("admin", "GET", "/v1/status").json
    assert status.keys() == api.keys() and status["warnings"] == []
    assert status["log"] == api["log"]  # to look records nothing
    last, line = kms.records()[-1], kms.lines()[-1]
    assert status["log"]["seq"] == last["seq"] and status["log"]["time"] == last["time"]
    assert status["log"]["bytes"] == sum(len(line) + 1 for line in kms.lines())
    assert status["doors"] == [{"name": "ci", "state": "ready"}, {"name": "admin", "state": "ready"}] and line
    lanes = {(lane["role"], lane["index"]): lane for lane in status["lanes"]}
    assert ("admin", 0) in lanes and len(lanes) == len(kms.lanes()) + 1
    assert all(lane["state"] == "ready" and lane["sandbox"] for lane in lanes.values())
    assert status["token"]["label"] == "kmsd-keys" and not any("/" in str(value) for value in status["token"].values())
    keys = [r for r in kms.records(event="key.create", outcome="ok")]
    assert status["keys"]["active"] == len(keys) and status["keys"]["creating"] == 0


def test_the_table(kms):
    kms.wait(lambda: document(kms)["ready"], 5, "readiness")
    said, status = table(kms), document(kms)
    assert said.startswith(f"{status['origin']}: ready\n") and "warning" not in said
    for text in (status["instance"], "dev", f"{status['log']['seq']}:{status['log']['hash']}", status["policy"], "ci ready, admin ready", "kept", "runs",
                 f"{status['keys']['active']} active", "none so far"):
        assert text in said, (text, said)
    assert re.search(r"lanes +admin 0  ready +\S", said) and re.search(r"\n +sign  0  ready +\S", said)
    for name in ("yours", "ca", "server-ci", "server-admin"):
        assert re.search(rf"{name} +ends 20\d\d-\d\d-\d\d, \d+ days left", said), said
    assert all(line == line.rstrip() for line in said.splitlines())


def test_a_token_that_is_away(own_kms):
    (own_kms.dir / "tokens/keys/store").rename(own_kms.dir / "tokens/keys/away")
    own_kms.wait(lambda: "the token is away" in [w["what"] for w in document(own_kms)["warnings"]], 10, "the warning")
    said = table(own_kms)
    assert "NOT READY" in said and "warning: the token is away\n         connect it" in said and re.search(r"sign  0  away", said)
    (own_kms.dir / "tokens/keys/away").rename(own_kms.dir / "tokens/keys/store")
    own_kms.wait(lambda: document(own_kms)["ready"] and not document(own_kms)["warnings"], 15, "the token back")


def test_a_clock_that_was_set(tmp_path):
    clock = Clock(tmp_path)
    with Instance(tmp_path / "dir", environment=clock.environment) as kms:
        clock.set(1200)
        kms.wait(lambda: document(kms)["time"]["frozen"], 10, "the step")
        said, step = table(kms), document(kms)["time"]["step"]
        assert f"FROZEN: it was set, see record {step}" in said and f"kmsctl time confirm --seq {step} --reason" in said
        kms.kmsctl("time", "confirm", "--seq", str(step), "--reason", "meant", env=kms.env)
        assert "clock         runs" in table(kms) and "time confirm" not in table(kms)


def test_certificates_near_their_end(own_kms):
    """One's own is said on standard error by the commands that use it; the service counts those of all."""
    kms = own_kms
    assert b"certificate" not in kms.kmsctl("whoami").stderr
    soon = kms.new_identity("soon", days=6)
    env = {**kms.ci_env, "KMS_CERT": str(soon.cert), "KMS_KEY": str(soon.key)}
    done = kms.kmsctl("whoami", env=env)
    assert b"your certificate ends on 20" in done.stderr and b"in 5 days" in done.stderr and b"kmsctl renew" in done.stderr, done.stderr
    (kms.dir / "file").write_bytes(b"x")
    done = kms.kmsctl("sign", kms.dir / "file", "--version", "1.0.0", env=env, check=False)
    assert b"your certificate ends on" in done.stderr
    warning, = document(kms)["warnings"]
    assert "last certificate of 1 identities" in warning["what"] and "kmsctl renew" in warning["do"]
    kms.signed("POST", "/v1/identities/soon/disable", {"reason": "gone"})
    assert document(kms)["warnings"] == []
