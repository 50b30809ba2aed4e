"""DESTROY and UNLOAD on every kind of token that makes P-256 keys: what is removed is gone, and nothing else is ever removed."""
import json
import secrets

import pytest

from lane import BUG, EXIT_TOKEN, INPUT, KEY, STATEMENT
from test_lane_contract import modules, names, prepared  # noqa: F401 (fixtures)
from tokens import KINDS, ShimmedSoftHSM

RELEASE = "kmsd:release:{}:1"


@pytest.fixture(scope="module", **names([kind for kind in KINDS if kind.ec]))
def token(request, prepared):  # noqa: F811
    return prepared(request.param)


@pytest.fixture(scope="module")
def admin(token):
    with token.lane("admin") as lane:
        yield lane
        assert lane.process.poll() is None, lane.err_text()


def order(key_id, spki, name="gone", **other):
    return {"KEY_ID": key_id, "ALGORITHM": "p256", "SCHEME": "statement", "LABEL": RELEASE.format(name), "SPKI": spki, **other}


def objects(lane, key_id):
    return sorted(o["class"] for o in json.loads(lane.ok("LIST")["OBJECTS"]) if o["id"] == key_id.hex())


def test_removed_and_proven(admin, token):
    kept, _, _ = admin.generate("kept")
    key_id, spki, _ = admin.generate("gone")
    assert objects(admin, key_id) == ["private-key", "public-key"]
    proof = json.loads(admin.ok("DESTROY", **order(key_id, spki))["PROOF"])
    assert proof["left"] == 0 and proof["private"] == proof["public"] == 1
    assert proof["token"] == {name: json.loads(admin.hello["TOKEN"])[name] for name in ("label", "serial")}
    assert objects(admin, key_id) == [] and objects(admin, kept) == ["private-key", "public-key"]
    with token.lane("admin") as another:
        assert objects(another, key_id) == []
    again = json.loads(admin.ok("DESTROY", **order(key_id, spki))["PROOF"])
    assert again == {**proof, "private": 0, "public": 0}, "what is gone already is no error"
    admin.ok("PROBE")


def test_nothing_is_removed_on_a_guess(admin, token):
    key_id, spki, _ = admin.generate("guess")
    other, other_spki, _ = admin.generate("other")
    admin.refused(KEY, "DESTROY", **order(key_id, other_spki, "guess"))
    admin.refused(KEY, "DESTROY", **order(key_id, spki, "other"))
    admin.refused(INPUT, "DESTROY", **order(key_id, spki, "guess", ALGORITHM="p521"))
    admin.refused(INPUT, "DESTROY", **order(key_id[:15], spki, "guess"))
    for label in ("kmsd:ca", "kmsd:checkpoint", "kmsd:release:", "kmsd:release:a", "", "kmsd:release:a:01", "kmsd:release:A:1"):
        admin.refused(INPUT, "DESTROY", **order(token.ca_id, spki, LABEL=label))
    admin.refused(KEY if len(token.ca_id) == 16 else INPUT, "DESTROY", **order(token.ca_id, spki, "guess"))
    assert objects(admin, key_id) == objects(admin, other) == ["private-key", "public-key"] and "private-key" in objects(admin, token.ca_id)
    admin.ok("DESTROY", **order(key_id, spki, "guess"))
    admin.ok("DESTROY", **order(other, other_spki, "other"))


def test_a_signing_lane_drops_a_key(admin, token):
    keys = [admin.generate(f"drop{n}") for n in range(3)]
    with token.lane("sign") as sign:
        for key_id, spki, _ in keys:
            sign.load(key_id, spki)
        dropped, spki, _ = keys[0]
        for _ in range(2):
            sign.ok("UNLOAD", KEY_ID=dropped)
        sign.refused(KEY, "SIGN", KEY_ID=dropped, SCHEME="statement", INPUT=STATEMENT)
        for key_id, _, _ in keys[1:]:
            sign.ok("SIGN", KEY_ID=key_id, SCHEME="statement", INPUT=STATEMENT)
        sign.load(dropped, spki)
        sign.ok("SIGN", KEY_ID=dropped, SCHEME="statement", INPUT=STATEMENT)
        sign.ok("UNLOAD", KEY_ID=dropped)
        admin.ok("DESTROY", **order(dropped, spki, "drop0"))
        for _ in range(4):
            sign.ok("PROBE")
        sign.refused(INPUT, "DESTROY", **order(keys[1][0], keys[1][1], "drop1"))
        for key_id, _, _ in keys[1:]:
            sign.ok("SIGN", KEY_ID=key_id, SCHEME="statement", INPUT=STATEMENT)
        sign.ok("UNLOAD", KEY_ID=secrets.token_bytes(16))
    admin.refused(INPUT, "UNLOAD", KEY_ID=keys[1][0])


@pytest.mark.parametrize("rules, left", [
    (["C_DestroyObject first:1 fail:0x30"], ["private-key", "public-key"]), (["C_DestroyObject first:1 late:0x30"], ["public-key"]),
    (["C_DestroyObject nth:2 fail:0x30"], ["public-key"]), (["C_DestroyObject nth:2 late:0x30"], []),
])
def test_a_removal_that_is_cut_short_is_finished(prepared, rules, left):  # noqa: F811
    """Whatever the first try left, the next one says how it stands and brings it to its end."""
    token = prepared(ShimmedSoftHSM)
    with token.lane("admin") as lane:
        key_id, spki, _ = lane.generate("short")
        token.shim.set(*rules)
        answer = lane.call("DESTROY", **order(key_id, spki, "short"))
        token.shim.set()
        assert answer["type"] == "ERROR" and lane.ended() == EXIT_TOKEN
    with token.lane("admin") as lane:
        assert objects(lane, key_id) == left
        proof = json.loads(lane.ok("DESTROY", **order(key_id, spki, "short"))["PROOF"])
        assert [proof["left"], proof["private"], proof["public"]] == [0, left.count("private-key"), left.count("public-key")]
        assert objects(lane, key_id) == []


def test_a_token_that_keeps_what_it_says_it_removed(prepared):  # noqa: F811
    token = prepared(ShimmedSoftHSM)
    with token.lane("admin") as lane:
        key_id, spki, _ = lane.generate("stays")
        token.shim.set("C_DestroyObject always fail:0x82")
        lane.refused(BUG, "DESTROY", **order(key_id, spki, "stays"))
        token.shim.set()
        assert objects(lane, key_id) == ["private-key", "public-key"]
        lane.ok("DESTROY", **order(key_id, spki, "stays"))
