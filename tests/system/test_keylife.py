"""What becomes of keys: suspended, resumed, retired, marked compromised; and that no signature comes out of turn."""
import collections
import itertools
import json
import subprocess
import time
import uuid

import pytest

from apitest import new_source, refused
from clock import Clock
from kms import BIN, Instance, run
from load import Threads
from test_reconcile import pkcs11
from tokens import SOFTHSM, Shim, build_modules

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
    return kms.new_key(fresh("life"), source=new_source())


def sign(kms, key, version="1.0.0", idem=None, **members):
    members.setdefault("app", "com.example." + key)
    return kms.sign(version, key=key, headers={"Idempotency-Key": idem} if idem else None, source=new_source(), **members)


def signed(kms, *args, **members):
    answer = sign(kms, *args, **members)
    assert answer.status == 200, answer
    return answer


def key_id(kms, name):
    return kms.records(event="key.create", outcome="ok", key={"name": name, "version": 1})[0]["detail"]["key_id"]


def held(kms, name):
    """How many objects of the key another program finds on the token; one that looks while a lane logs in may not find the token."""
    def look():
        try:
            return [pkcs11(kms, "--list-objects", "--type", kind) for kind in ("privkey", "pubkey")]
        except subprocess.CalledProcessError:
            return None
    return sum(listed.count(f"kmsd:release:{name}:") for listed in kms.wait(look, what="a look at the token"))


def destroyed(kms, name, seconds=30):
    """Waits for it; the proof of the record is true."""
    kms.wait(lambda: shown(kms, name)["state"] == "destroyed", seconds, f"the destruction of {name}")
    records = kms.records(event="key.erase", key={"name": name, "version": 1})
    intents = [r for r in records if r["outcome"] == "intent"]
    done = [r for r in records if r["outcome"] == "ok"]
    assert len(intents) == len(done) == 1 and done[0]["intent_seq"] == intents[0]["seq"] and done[0]["actor"]["kind"] == "system"
    detail = done[0]["detail"]
    assert detail["left"] == 0 and detail["key_id"] == key_id(kms, name) and detail["token"]["label"] == "kmsd-keys" and len(detail["token"]["serial"]) == 16
    assert held(kms, name) == 0
    return records


def sound(kms):
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


def test_retired_for_good(life, key):
    signed(life, key)
    changed(life, key, "retire", "retired")
    refused(life, sign(life, key, "1.0.1"), 409, "key-not-active", "sign.release")
    for verb in ("suspend", "resume", "retire", "restore"):
        refused(life, change(life, key, verb), 409, "key-state", f"key.{verb}")
    public = life.request("ci", "GET", f"/v1/keys/{key}/public", source=new_source())
    assert public.status == 200 and b"PUBLIC KEY" in public.body
    assert shown(life, key)["token"] == "present"


@pytest.mark.parametrize("first", [[], ["suspend"], ["retire"]])
def test_compromised_for_ever(life, first):
    name = make(life)
    release, idem = signed(life, name), str(uuid.uuid4())
    repeated = signed(life, name, "1.1.0", idem=idem)
    assert sign(life, name, "1.1.0", idem=idem).body == repeated.body
    assert signed(life, name, "1.1.0").json["record"] == repeated.json["record"] != release.json["record"]
    for verb in first:
        changed(life, name, verb, {"suspend": "suspended", "retire": "retired"}[verb])
    answer = changed(life, name, "compromise", "retired")
    assert shown(life, name)["compromised"] == answer.json["key"]["compromised"] == life.record_of(answer)["time"]
    for again in (sign(life, name, "1.1.0", idem=idem), sign(life, name, "1.1.0"), sign(life, name, "1.2.0"), sign(life, name, "1.1.0", dry_run=True)):
        record = refused(life, again, 409, "key-compromised", "sign.release")
        assert "sign a newer version with another key" in again.json["detail"] and record["key"] == {"name": name}
    for verb in ("suspend", "resume", "retire", "compromise"):
        refused(life, change(life, name, verb), 409, "key-state", f"key.{verb}")
    sound(life)


def test_what_a_compromised_key_signed_does_not_come_by_another_key(life):
    old, new = make(life), make(life)
    app = "com.example." + old
    signed(life, old, app=app)
    changed(life, old, "compromise", "retired")
    answer = sign(life, new, app=app)
    refused(life, answer, 409, "already-exists", "sign.release")
    assert old in answer.json["detail"]
    assert signed(life, new, "1.0.1", app=app).json["key"] == new


def test_a_change_that_is_repeated_changes_nothing(life, key):
    body, head = {"reason": "twice"}, {"Idempotency-Key": str(uuid.uuid4())}
    first = life.signed("POST", f"/v1/keys/{key}/suspend", body, head, source=new_source())
    changed(life, key, "resume", "active")
    again = life.signed("POST", f"/v1/keys/{key}/suspend", body, head, source=new_source())
    assert first.status == again.status == 200 and first.body == again.body and shown(life, key)["state"] == "active"


def test_the_answer_of_a_creation_stays_the_same(life):
    name, head = fresh("life"), {"Idempotency-Key": str(uuid.uuid4())}
    body = {"name": name, "algorithm": "p256", "scheme": "statement"}

    def create():
        answer = life.signed("POST", "/v1/keys", body, head, source=new_source())
        assert answer.status in (201, 202), answer
        return answer if answer.status == 201 else None
    first = life.wait(create, what="the key")
    changed(life, name, "compromise", "retired")
    assert create().body == first.body


def test_who_may(life, key):
    """Each change is a right of its own, and a signature of a person belongs to it."""
    person = life.new_identity(fresh("person"), kind="human")
    text = life.request("admin", "GET", "/v1/policy").json["policy"]
    stopper = f"  stopper:\n    - name: stop\n      allow: [key.suspend]\n      keys: [{key}]\ngrants:\n  - {{role: stopper, to: ['identity:{person.name}']}}\n"
    assert life.signed("PUT", "/v1/policy", text.replace("grants:\n", stopper, 1), {"Content-Type": "application/yaml"}).status == 200
    for verb in ("resume", "retire", "compromise", "destroy", "restore"):
        refused(life, life.signed("POST", f"/v1/keys/{key}/{verb}", {"reason": "x"}, cert=person, source=new_source()), 403, "forbidden", f"key.{verb}")
    refused(life, life.signed("POST", "/v1/keys/release/suspend", {"reason": "x"}, cert=person, source=new_source()), 403, "forbidden", "key.suspend")
    assert life.signed("POST", f"/v1/keys/{key}/suspend", {"reason": "x"}, cert=person, source=new_source()).status == 200
    refused(life, life.request("admin", "POST", f"/v1/keys/{key}/resume", {"reason": "x"}, source=new_source()), 401, "signature-required", "key.resume")
    refused(life, life.request("ci", "POST", f"/v1/keys/{key}/resume", {"reason": "x"}, source=new_source()), 404, "not-found")
    assert shown(life, key)["state"] == "suspended"
    changed(life, key, "resume", "active")


@pytest.mark.parametrize("body, slug", [
    ({}, "bad-request"), ({"reason": ""}, "bad-request"), ({"reason": "x", "more": 1}, "unknown-member"),
    ({"reason": "x", "delay_hours": 23}, "bad-request"), ({"reason": "x", "delay_hours": 8761}, "bad-request"),
    ({"reason": "x", "delay_seconds": 0}, "bad-request"), ({"reason": "x", "delay_seconds": 9, "delay_hours": 24}, "bad-request"),
    ({"reason": "x", "delay_hours": "24"}, "bad-request"),
])
def test_what_is_no_order_to_destroy(life, key, body, slug):
    changed(life, key, "suspend", "suspended")
    assert life.signed("POST", f"/v1/keys/{key}/destroy", body, source=new_source()).slug == slug
    assert shown(life, key)["state"] == "suspended"


def test_called_off(life, key):
    refused(life, change(life, key, "destroy"), 409, "key-state", "key.destroy")
    changed(life, key, "suspend", "suspended")
    answer = changed(life, key, "destroy", "destroying")
    record = life.record_of(answer)
    assert shown(life, key)["due"] == answer.json["key"]["due"] == record["detail"]["due"] > record["time"]
    refused(life, sign(life, key), 409, "key-not-active", "sign.release")
    refused(life, change(life, key, "resume"), 409, "key-state", "key.resume")
    changed(life, key, "restore", "suspended")
    assert "due" not in shown(life, key)
    changed(life, key, "resume", "active")
    signed(life, key)
    changed(life, key, "retire", "retired")
    changed(life, key, "destroy", "destroying", delay_hours=8760)
    changed(life, key, "compromise", "destroying")
    changed(life, key, "restore", "retired")
    assert shown(life, key)["compromised"]
    sound(life)


def test_destroyed_with_proof(life, key):
    before = signed(life, key)
    changed(life, key, "suspend", "suspended")
    assert held(life, key) == 2
    changed(life, key, "destroy", "destroying", delay_seconds=1)
    destroyed(life, key)
    refused(life, sign(life, key, "1.0.1"), 409, "key-not-active", "sign.release")
    refused(life, change(life, key, "restore"), 409, "key-state", "key.restore")
    refused(life, life.signed("POST", "/v1/keys", {"name": key, "algorithm": "p256", "scheme": "statement"}, source=new_source()), 409, "already-exists")
    view = shown(life, key)
    assert view["public_key"].startswith("-----BEGIN PUBLIC KEY") and "token" not in view and "due" not in view
    other = make(life)
    signed(life, other)
    changed(life, key, "compromise", "destroyed")
    assert before.json["key"] == key and not life.records(event="token.reconcile")
    sound(life)


def test_kmsctl(life, key):
    def ctl(*words, **options):
        return life.kmsctl("key", *words, "--reason", "by hand", "-o", "json", env=life.env, **options)
    assert json.loads(ctl("suspend", key).stdout)["key"]["state"] == "suspended"
    assert json.loads(ctl("resume", key).stdout)["key"]["state"] == "active"
    assert ctl("destroy", key, check=False).returncode == 1
    assert json.loads(ctl("retire", key).stdout)["key"]["state"] == "retired"
    assert json.loads(ctl("destroy", key, "--delay-hours", "48").stdout)["key"]["due"]
    assert json.loads(ctl("restore", key).stdout)["key"]["state"] == "retired"
    assert json.loads(ctl("compromise", key).stdout)["key"]["compromised"]
    assert ctl("destroy", key, "--delay-hours", "many", check=False).returncode == 2
    listed = {k["name"]: k for k in json.loads(life.kmsctl("key", "list", "-o", "json").stdout)["items"]}
    assert listed[key]["state"] == "retired" and listed[key]["compromised"] and listed["release"]["state"] == "active"
    json.loads(ctl("destroy", key, "--delay-seconds", "1").stdout)
    destroyed(life, key)


def test_sets_of_public_keys(life, key):
    """Every key that may still verify something, under the id that envelopes name."""
    envelope = signed(life, key).json["envelope"]
    keyid = shown(life, key)["keyid"]
    one = life.request("ci", "GET", f"/v1/keys/{key}/public?format=jwks", source=new_source())
    assert one.status == 200 and one.type == "application/jwk-set+json"
    jwk, = one.json["keys"]
    plain = life.request("ci", "GET", f"/v1/keys/{key}/public?format=jwk", source=new_source()).json
    assert jwk == {**plain, "kid": keyid, "use": "sig"} and envelope["signatures"][0]["keyid"] == keyid

    def kids():
        answer = life.request("ci", "GET", "/v1/jwks", source=new_source())
        assert answer.status == 200 and answer.type == "application/jwk-set+json"
        return {k["kid"]: k for k in answer.json["keys"]}
    listed = {k["keyid"]: k for k in json.loads(life.kmsctl("key", "list", "-o", "json").stdout)["items"]}
    assert kids()[keyid] == jwk and set(kids()) == {kid for kid, k in listed.items() if "compromised" not in k}
    assert {k["state"] for kid, k in listed.items() if kid in kids()} >= {"active"}
    changed(life, key, "retire", "retired")
    assert keyid in kids() and keyid in {k["kid"] for k in json.loads(life.kmsctl("key", "jwks").stdout)["keys"]}
    changed(life, key, "compromise", "retired")
    assert keyid not in kids()


# Restarts, deaths, clocks

def test_states_survive_a_restart(tmp_path):
    with Instance(tmp_path / "dir") as kms:
        allow_life(kms)
        names = {state: make(kms) for state in ("active", "suspended", "retired", "destroying", "destroyed")}
        for name in names.values():
            signed(kms, name)
        changed(kms, names["suspended"], "suspend", "suspended")
        changed(kms, names["retired"], "compromise", "retired")
        for state, seconds in (("destroying", 3600), ("destroyed", 1)):
            changed(kms, names[state], "retire", "retired")
            changed(kms, names[state], "destroy", "destroying", delay_seconds=seconds)
        destroyed(kms, names["destroyed"])
        views = {name: shown(kms, name) for name in names.values()}
        for stop in (kms.stop, lambda: kill_core(kms)):
            stop()
            if stop == kms.stop:
                kms.start()
            kms.wait(lambda: shown(kms, names["active"]).get("token") == "present", what="the comparison")
            assert {name: shown(kms, name) for name in names.values()} == views
            assert [state for state, name in names.items() if sign(kms, name).status == 200] == ["active"]
            assert not kms.records(event="token.reconcile")
        changed(kms, names["suspended"], "resume", "active")
        signed(kms, names["suspended"], "1.0.1")
        sound(kms)


def test_the_only_key_is_suspended(tmp_path):
    """Lanes without any key are ready, and take the key when it is resumed."""
    with Instance(tmp_path / "dir") as kms:
        assert kms.sign("1.0.0").status == 200
        changed(kms, "release", "suspend", "suspended")
        kms.stop()
        kms.start()
        assert kms.sign("1.0.1").slug == "key-not-active"
        kms.wait(lambda: kms.health()[0] == 200, what="lanes without keys")
        assert [k["state"] for k in kms.request("admin", "GET", "/v1/keys").json["items"]] == ["suspended"]
        changed(kms, "release", "resume", "active")
        assert kms.sign("1.0.1").status == 200 and not kms.records(event="daemon.child")
        changed(kms, "release", "retire", "retired")
        changed(kms, "release", "destroy", "destroying", delay_seconds=1)
        assert any("key release is going to be destroyed" in w["what"] for w in kms.request("admin", "GET", "/v1/status").json["warnings"])
        destroyed(kms, "release")
        kms.stop()
        kms.start()
        make(kms)
        sound(kms)


def test_a_destroyed_key_that_comes_back(tmp_path):
    """Somebody puts the token's files back: that is told, and the key is not used."""
    with Instance(tmp_path / "dir") as kms:
        allow_life(kms)
        name, store, away = make(kms), kms.dir / "tokens/keys/store", tmp_path / "away"
        run("cp", "-a", store, away)
        changed(kms, name, "suspend", "suspended")
        changed(kms, name, "destroy", "destroying", delay_seconds=1)
        destroyed(kms, name)
        kms.stop()
        for path in away.rglob("*"):
            there = store / path.relative_to(away)
            if path.is_file() and not there.exists():
                run("cp", "-p", path, there)
        kms.start()
        record = kms.wait(lambda: kms.records(event="token.reconcile"), what="a finding")[0]
        assert {o["id"] for o in record["detail"]["quarantined"]} == {key_id(kms, name)} and not record["detail"]["missing"]
        assert held(kms, name) == 2 and shown(kms, name)["state"] == "destroyed"
        assert sign(kms, name).slug == "key-not-active"
        sound(kms)


def kill_core(kms):
    """The core dies at once; answers come again when the supervisor has started another."""
    pid = kms.child("kmsd-core")
    kms.kill(pid)
    kms.wait(lambda: pid not in kms.children(), what="the end of the core")
    kms.wait(lambda: answers(kms), what="an answer")


def answers(kms):
    try:
        return kms.request("ci", "GET", "/v1/whoami", source=new_source()).status == 200
    except OSError:
        return False


def test_killed_around_a_destruction(tmp_path):
    """Whenever the core or the lane dies: what is begun is finished, once, and nothing is reported missing."""
    with Instance(tmp_path / "dir") as kms:
        allow_life(kms)
        names = [make(kms) for _ in range(4)]
        for round, name in enumerate(names):
            changed(kms, name, "suspend", "suspended")
            changed(kms, name, "destroy", "destroying", delay_seconds=1)
            due = time.monotonic() + 1
            time.sleep(max(0.0, due - time.monotonic() + (0.0, 0.05, 0.1, 0.15)[round]))
            if round % 2:
                kms.kill(kms.child("kmsd-token", lane="admin"))
            kill_core(kms)
            kms.wait(lambda: shown_or_none(kms, name) == "destroyed", 60, f"the destruction of {name}")
            records = kms.records(event="key.erase", key={"name": name, "version": 1})
            assert [r["outcome"] for r in records if r["outcome"] != "error"] == ["intent", "ok"] and held(kms, name) == 0
        assert not kms.records(event="token.reconcile")
        sound(kms)


def shown_or_none(kms, name):
    try:
        return shown(kms, name)["state"]
    except (OSError, AssertionError):
        return None


@pytest.mark.parametrize("rule, objects", [("C_DestroyObject always hang", 2), ("C_DestroyObject from:2 hang", 1)])
def test_begun_and_finished_after_a_restart(tmp_path, rule, objects):
    """The intent is durable and core and lane die before the token has done it: the next start finishes it, whatever the token has lost already."""
    build_modules()
    shim = Shim(tmp_path, SOFTHSM)
    with Instance(tmp_path / "dir", "--module", shim.module) as kms:
        allow_life(kms)
        name = make(kms)
        changed(kms, name, "suspend", "suspended")
        shim.set(rule)
        changed(kms, name, "destroy", "destroying", delay_seconds=1)
        kms.wait(lambda: kms.records(event="key.erase", outcome="intent"), what="the intent")
        kms.wait(lambda: shim.faults("C_DestroyObject") == 1, what="a call that hangs")
        refused(kms, change(kms, name, "restore"), 409, "key-state", "key.restore")
        kms.kill(kms.child("kmsd-token", lane="admin"))
        kill_core(kms)
        assert not kms.records(event="key.erase", outcome="ok") and held(kms, name) == objects
        assert not kms.records(event="token.reconcile")
        shim.set()
        kms.kill(kms.wait(lambda: admin_lane(kms), what="the next lane"))
        destroyed(kms, name, 60)
        sound(kms)


def admin_lane(kms):
    try:
        return kms.child("kmsd-token", lane="admin")
    except AssertionError:
        return None


def test_a_destruction_that_fails_is_tried_again(tmp_path):
    build_modules()
    shim = Shim(tmp_path, SOFTHSM)
    with Instance(tmp_path / "dir", "--module", shim.module) as kms:
        allow_life(kms)
        name, other = make(kms), make(kms)
        shim.set("C_DestroyObject always fail:0x6")
        for key in (name, other):
            changed(kms, key, "retire", "retired")
            changed(kms, key, "destroy", "destroying", delay_seconds=1)
        kms.wait(lambda: len(kms.records(event="key.erase", outcome="error")) == 2, 60, "the first failure of each")
        shim.set()
        for key in (name, other):
            records = destroyed(kms, key, 60)
            assert [r["outcome"] for r in records] == ["intent", "error", "ok"] and records[1]["reason"] == "token-unavailable"
        sound(kms)


def test_a_clock_that_was_set_holds_it_back(tmp_path):
    clock = Clock(tmp_path)
    with Instance(tmp_path / "dir", environment=clock.environment) as kms:
        allow_life(kms)
        name = make(kms)
        changed(kms, name, "suspend", "suspended")
        changed(kms, name, "destroy", "destroying", delay_hours=24)
        clock.set(25 * 3600)
        step = kms.wait(lambda: kms.records(event="time.step"), what="the step")[0]
        for stop in (False, True):
            if stop:
                kms.stop()
                kms.start()
            time.sleep(1)
            assert shown(kms, name)["state"] == "destroying" and not kms.records(event="key.erase")
        assert kms.signed("POST", "/v1/time/confirm", {"seq": step["seq"], "reason": "meant"}).status == 200
        destroyed(kms, name)
        sound(kms)


# The promise, under load

class Load(Threads):
    """Clients that sign until they are stopped, each for its own channel; every answer is kept."""

    def __init__(self, kms, key, clients=16):
        super().__init__(clients, self._sign)
        self.kms, self.key, self.answers = kms, key, []

    def _sign(self, number):
        app, n = f"com.example.{self.key}.{number}", 0
        with self.kms.connect("ci", source=f"127.8.0.{number + 1}") as connection:
            while not self.stopped.is_set():
                n += 1
                self.answers.append(connection.request("POST", "/v1/sign", self.kms.release(f"1.0.{n}", key=self.key, app=app)))


@pytest.mark.parametrize("verb, slug", [("suspend", "key-not-active"), ("compromise", "key-compromised")])
def test_stopped_while_many_sign(life, verb, slug):
    key = make(life)
    with Load(life, key) as load:
        life.wait(lambda: sum(a.status == 200 for a in load.answers) > 200, 60, "200 signatures")
        stopped = change(life, key, verb)
        assert stopped.status == 200, stopped
        at = len(load.answers)
        life.wait(lambda: sum(a.slug == slug for a in load.answers[at:]) > 32, 60, "refusals")
    if verb == "suspend":
        changed(life, key, "resume", "active")
    border = stopped.json["record"]["seq"]
    recorded = {r["req"]: r["seq"] for r in life.records(event="sign.release", outcome="ok", key={"name": key, "version": 1})}
    given = {a.json["request_id"]: a.json["record"]["seq"] for a in load.answers if a.status == 200}
    assert max(recorded.values()) < border, "a signature behind the record that stopped the key"
    assert given == recorded, "an answer without its record, or a record whose answer never came"
    assert set(collections.Counter(a.slug for a in load.answers)) <= {"", slug}
    sound(life)
