"""What becomes of keys: suspended, resumed, retired, marked compromised; and that no signature comes out of turn."""
import concurrent.futures
import itertools
import json
import uuid

import pytest

from apitest import new_source, refused
from kms import BIN, canonical, run

_numbers = itertools.count(1)


def fresh(stem):
    return f"{stem}-{next(_numbers)}"


def change(kms, name, verb, **more):
    return kms.signed("POST", f"/v1/keys/{name}/{verb}", {"reason": f"test of {verb}", **more}, source=new_source())


def changed(kms, name, verb, state, **more):
    """The change is made, its answer and its record say so, and so does the key."""
    answer = change(kms, name, verb, **more)
    assert answer.status == 200, answer
    record = kms.record_of(answer)
    assert record["event"] == f"key.{verb}" and record["outcome"] == "ok" and record["reason"] == f"test of {verb}"
    assert record["key"] == {"name": name, "version": 1} and record["detail"]["state"] == state
    assert answer.json["key"]["state"] == state and shown(kms, name)["state"] == state
    return answer


def shown(kms, name):
    answer = kms.request("admin", "GET", f"/v1/keys/{name}", source=new_source())
    assert answer.status == 200, answer
    return answer.json


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    """An instance whose policy lets its CI job sign with every key whose name begins with "life"."""
    from kms import Instance
    with Instance(tmp_path_factory.mktemp("life") / "dir") as instance:
        allow_life(instance)
        yield instance


def allow_life(instance):
    text = instance.request("admin", "GET", "/v1/policy").json["policy"]
    assert "keys: [release]" in text
    answer = instance.signed("PUT", "/v1/policy", text.replace("keys: [release]", "keys: [release, 'life*']"), {"Content-Type": "application/yaml"})
    assert answer.status == 200, answer


@pytest.fixture
def key(life):
    return make(life)


def make(kms):
    name = fresh("life")
    answer = kms.signed("POST", "/v1/keys", {"name": name, "algorithm": "p256", "scheme": "statement"}, source=new_source())
    assert answer.status == 201, answer
    return name


def sign(kms, key, version="1.0.0", idem=None, **members):
    members.setdefault("app", "com.example." + key)
    return kms.sign(version, key=key, headers={"Idempotency-Key": idem} if idem else None, source=new_source(), **members)


def signed(kms, *args, **members):
    answer = sign(kms, *args, **members)
    assert answer.status == 200, answer
    return answer


def sound(kms):
    """What kms-audit says of the log of a running instance: it may have grown since, and nothing else."""
    done = run(BIN / "kms-audit", "verify", kms.dir, "--output", "json", check=False)
    assert done.returncode == 0, done.stdout.decode()
    return json.loads(done.stdout)


# One change after the other

def test_suspended_and_resumed(life, key):
    before = signed(life, key)
    changed(life, key, "suspend", "suspended")
    answer = sign(life, key, "1.0.1")
    record = refused(life, answer, 409, "key-not-active", "sign.release")
    assert record["key"] == {"name": key} and "kmsctl key resume" in answer.json["detail"] and "suspended since" in answer.json["detail"]
    assert change(life, key, "suspend").slug == "key-state"
    changed(life, key, "resume", "active")
    refused(life, change(life, key, "resume"), 409, "key-state", "key.resume")
    assert signed(life, key).json["record"] == before.json["record"]
    signed(life, key, "1.0.1")
    sound(life)
