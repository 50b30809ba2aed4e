"""Token and log are compared at every start: missing keys, keys there twice, what a torn creation left behind, foreign objects."""
import os
import subprocess

import pytest

import kms

MODULE = "/usr/lib/softhsm/libsofthsm2.so"


def pkcs11(instance, *args):
    env = {**os.environ, "SOFTHSM2_CONF": str(instance.dir / "tokens/keys/softhsm2.conf"), "TEST_PIN": (instance.dir / "pin-keys").read_text().strip()}
    argv = ["pkcs11-tool", "--module", MODULE, "--token-label", "kmsd-keys", "--login", "--pin", "env:TEST_PIN", *args]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout


def make_key(instance, name):
    instance.new_key(name)
    return instance.records(event="key.create", outcome="ok", key={"name": name, "version": 1})[0]["detail"]["key_id"]


def shown(instance, name):
    answer = instance.request("admin", "GET", f"/v1/keys/{name}")
    assert answer.status == 200, answer
    return answer.json.get("token")


def reconciled(instance):
    return instance.records(event="token.reconcile")


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    with kms.Instance(tmp_path_factory.mktemp("reconcile") / "i") as running:
        yield running


def verified(instance):
    kms.run(kms.BIN / "kms-audit", "verify", instance.dir)
    instance.check_chain()


def test_findings(instance):
    assert not reconciled(instance), "nothing is found on a token that holds its keys only"
    policy = instance.request("admin", "GET", "/v1/policy").json["policy"].replace("keys: [release]", "keys: [release, lost, half, kept]")
    answer = instance.signed("PUT", "/v1/policy", policy, {"Content-Type": "application/yaml"})
    assert answer.status == 200, answer
    ids = {name: make_key(instance, name) for name in ("lost", "half", "kept")}
    instance.stop()
    instance.start()
    instance.wait(lambda: shown(instance, "lost") == "present", what="the comparison")
    assert not reconciled(instance)

    instance.stop()
    for name, kinds in (("lost", ("privkey", "pubkey")), ("half", ("privkey",))):
        for kind in kinds:
            pkcs11(instance, "--delete-object", "--type", kind, "--id", ids[name])
    pkcs11(instance, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "somebody", "--id", "0102")
    pkcs11(instance, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "kmsd:release:torn:1", "--id", "ab" * 16)
    instance.start()
    instance.wait(lambda: reconciled(instance), what="a record")
    records = reconciled(instance)
    assert len(records) == 1 and records[0]["outcome"] == "error" and records[0]["actor"]["kind"] == "system"
    detail = records[0]["detail"]
    assert sorted(detail["missing"], key=lambda k: k["name"]) == [
        {"key_id": ids["half"], "name": "half", "private": 0, "public": 1, "version": 1},
        {"key_id": ids["lost"], "name": "lost", "private": 0, "public": 0, "version": 1}]
    assert detail["duplicate"] == [] and detail["others"] == 0
    assert sorted(o["class"] for o in detail["foreign"]) == ["private-key", "public-key"] and {o["id"] for o in detail["foreign"]} == {"0102"}
    assert {o["id"] for o in detail["quarantined"]} == {"ab" * 16} and len(detail["quarantined"]) == 2
    assert [shown(instance, name) for name in ("lost", "half", "kept")] == ["missing", "missing", "present"]
    for name in ("lost", "half"):
        answer = instance.sign("1.0.0", key=name, app="com.example.lost")
        assert answer.status == 503 and answer.slug == "token-unavailable" and f"key {name} as it was recorded (missing)" in answer.json["detail"], answer
    assert instance.sign("1.0.0", key="kept", app="com.example.kept").status == 200
    assert instance.sign("1.0.0").status == 200
    verified(instance)


def test_the_same_findings_are_recorded_once(instance):
    instance.stop()
    instance.start()
    instance.wait(lambda: shown(instance, "lost") == "missing", what="the comparison")
    assert len(reconciled(instance)) == 1
    held = pkcs11(instance, "--list-objects", "--type", "privkey")
    assert "somebody" in held and "kmsd:release:torn:1" in held and "kmsd:release:lost" not in held, "nothing is removed, nothing made anew"


def test_other_findings_are_recorded_again(instance):
    instance.stop()
    for kind in ("privkey", "pubkey"):
        pkcs11(instance, "--delete-object", "--type", kind, "--id", "0102")
    pkcs11(instance, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "somebody", "--id", instance.records(
        event="key.create", outcome="ok", key={"name": "kept", "version": 1})[0]["detail"]["key_id"])
    instance.start()
    instance.wait(lambda: len(reconciled(instance)) == 2, what="a second record")
    detail = reconciled(instance)[1]["detail"]
    assert [(k["name"], k["private"], k["public"]) for k in detail["duplicate"]] == [("kept", 2, 2)] and detail["foreign"] == []
    assert shown(instance, "kept") == "duplicate"
    answer = instance.sign("1.0.1", key="kept", app="com.example.kept")
    assert answer.status == 503 and "(duplicate)" in answer.json["detail"], answer
    verified(instance)


def test_the_only_key_is_gone_and_comes_back(tmp_path):
    instance = kms.Instance(tmp_path / "i").start()
    try:
        assert instance.sign("1.0.0").status == 200
        instance.stop()
        store, away = instance.dir / "tokens/keys/store", tmp_path / "away"
        key_id = instance.records(event="key.create", outcome="ok")[0]["detail"]["key_id"]
        subprocess.run(["cp", "-a", store, away], check=True)
        for kind in ("privkey", "pubkey"):
            pkcs11(instance, "--delete-object", "--type", kind, "--id", key_id)
        instance.start()
        instance.wait(lambda: reconciled(instance), what="a record")
        answer = instance.sign("1.0.1")
        assert answer.status == 503 and "key release as it was recorded (missing)" in answer.json["detail"], answer
        made = make_key(instance, "other")
        assert shown(instance, "other") == "present" and made != key_id

        for path in away.rglob("*"):
            there = store / path.relative_to(away)
            if path.is_file() and not there.exists():
                there.write_bytes(path.read_bytes())
        # SoftHSM reads its directory again when another program has changed something through it.
        pkcs11(instance, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "somebody", "--id", "0102")
        instance.wait(lambda: instance.sign("1.0.1").status == 200, what="a signature with the key that was put back")
        assert shown(instance, "release") == "present"
        assert [r["outcome"] for r in reconciled(instance)] == ["error", "ok"]
        verified(instance)
    finally:
        instance.stop(check=False)
