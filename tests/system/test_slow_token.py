"""A token that takes most of a second for a signature, as TPMs and cards do with RSA: that is slow, not dead."""
import time

import pytest

from kms import Instance
from tokens import SOFTHSM, Shim, build_modules

SLOW_MS = 900            # longer than a lane with curves only may be silent, shorter than one with RSA keys


@pytest.fixture()
def slow(tmp_path):
    """A service before a token that its test makes slow."""
    build_modules()
    shim = Shim(tmp_path, SOFTHSM)
    with Instance(tmp_path / "dir", "--module", shim.module) as kms:
        yield kms, shim
        shim.set()


def ended(kms):
    return (kms.dir / "kmsd.log").read_text().count("the core asked for its end")


def test_slow_rsa_signatures_are_waited_for(slow):
    kms, shim = slow
    made = kms.signed("POST", "/v1/keys", {"name": "rsa", "algorithm": "rsa-3072", "scheme": "statement"})
    assert made.status in (201, 202), made
    kms.wait(lambda: kms.request("admin", "GET", "/v1/keys/rsa").status == 200, 60, "the key")
    policy = kms.request("admin", "GET", "/v1/policy").json["policy"]
    allowed = policy.replace("keys: [release]", "keys: [release, rsa]")
    assert kms.signed("PUT", "/v1/policy", allowed, {"Content-Type": "application/yaml"}).status == 200
    kms.wait(lambda: kms.request("ci", "POST", "/v1/sign", {**kms.release("1.0.0"), "key": "rsa"}).status == 200, 10, "a signature")
    before = ended(kms)
    shim.set(f"C_Sign always delay:{SLOW_MS}")
    for number in range(2, 5):
        begin = time.monotonic()
        answer = kms.request("ci", "POST", "/v1/sign", {**kms.release(f"{number}.0.0"), "key": "rsa"})
        assert answer.status == 200 and time.monotonic() - begin >= SLOW_MS / 1000, answer
    time.sleep(3)  # lanes with nothing to do are asked for a signature, which takes as long
    assert kms.request("ci", "POST", "/v1/sign", {**kms.release("5.0.0"), "key": "rsa"}).status == 200
    assert ended(kms) == before


def test_slow_curves_are_given_up(slow):
    """Where no RSA key is, such silence is a lane that hangs, and another one takes over."""
    kms, shim = slow
    kms.wait(lambda: kms.sign("1.0.0").status == 200, 10, "a signature")
    before = ended(kms)
    shim.set(f"C_Sign first:1 delay:{SLOW_MS * 3}")
    begin = time.monotonic()
    assert kms.sign("2.0.0").status == 200
    assert time.monotonic() - begin < SLOW_MS * 3 / 1000
    kms.wait(lambda: ended(kms) > before, 5, "the end of the lane")
