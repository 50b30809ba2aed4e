"""Keys that a lane copies into its session: who allows it, what the copy must be, and that none signs once its key is not to sign."""
import re

import pytest

from apitest import new_source, refused
from kms import BIN, Instance, run
from test_keylife import allow_life, changed, destroyed, fresh, key_id, make, sign, signed, sound
from test_reconcile import pkcs11
from tokens import SOFTHSM, Shim, build_modules

CKA_EXTRACTABLE = 0x162
VERSIONS = iter(range(1, 100000))


def switch(kms, position):
    """Stops it, sets the switch, starts it."""
    kms.stop()
    file = kms.dir / "kmsd.yaml"
    text = re.sub(r"    session_copies: \w+\n", "", file.read_text())
    file.write_text(text.replace("    label: kmsd-keys\n", f"    label: kmsd-keys\n    session_copies: {position}\n"))
    kms.start()


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    build_modules()
    directory = tmp_path_factory.mktemp("copies")
    shim = Shim(directory, SOFTHSM)
    with Instance(directory / "dir", "--module", shim.module) as kms:
        allow_life(kms)
        kms.before = make(kms)
        switch(kms, "on")
        yield kms, shim


@pytest.fixture
def kms(copies):
    kms, shim = copies
    shim.set()
    yield kms
    shim.set()


def released(kms, name):
    return kms.records(event="sign.release", outcome="ok", key={"name": name, "version": 1})


def made(kms, name):
    return kms.records(event="key.create", outcome="ok", key={"name": name, "version": 1})[0]["detail"]["birth"]


def copied(shim, call, *args, **members):
    """Runs it. How many copies were made meanwhile."""
    before = shim.calls("C_CopyObject")
    call(*args, **members)
    return shim.calls("C_CopyObject") - before


def signed_by_all(kms, name):
    """So often that each lane had its turn."""
    for _ in range(8):
        signed(kms, name, version=f"1.0.{next(VERSIONS)}")


def test_only_a_new_p256_key_can_be_copied(kms):
    birth = made(kms, make(kms))
    assert birth["copyable"] and birth["modifiable"] and birth["sensitive"] and birth["never_extractable"] and birth["always_sensitive"]
    for other in (made(kms, kms.before), made(kms, kms.new_key(fresh("life"), "p384", source=new_source()))):
        assert not other["copyable"] and not other["modifiable"]


def test_no_ca_can_be_copied(kms):
    """Not one that is made while the switch is on either."""
    kms.stop()
    run(BIN / "kmsd", "renew-ca", "--dir", kms.dir)
    kms.start()
    birth = kms.records(event="ca.renew")[-1]["detail"]["ca"]["birth"]
    assert not birth["copyable"] and not birth["modifiable"]
    sound(kms)


def test_copied_once_a_lane(copies, kms):
    shim = copies[1]
    name = make(kms)
    assert copied(shim, signed_by_all, kms, name) in (1, 2)
    assert copied(shim, signed_by_all, kms, name) <= 1
    assert copied(shim, signed_by_all, kms, kms.before) == 0
    sound(kms)


def test_a_key_that_left_the_token_signs_no_more(copies, kms):
    """Its copies would go on: the key itself is looked for before a signature leaves."""
    name = make(kms)
    signed_by_all(kms, name)
    assert len(released(kms, name)) == 8
    pkcs11(kms, "--delete-object", "--type", "privkey", "--id", key_id(kms, name))
    answer = sign(kms, name, version=f"1.0.{next(VERSIONS)}")
    assert answer.status == 503 and answer.slug == "token-unavailable", answer
    assert len(released(kms, name)) == 8
    kms.wait(lambda: sign(kms, kms.before, version=f"1.0.{next(VERSIONS)}").status == 200, what="the other keys")


@pytest.mark.parametrize("verb, state, slug", [("suspend", "suspended", "key-not-active"), ("retire", "retired", "key-not-active"),
                                               ("compromise", "retired", "key-compromised")])
def test_dropped_with_the_right_to_sign(copies, kms, verb, state, slug):
    shim = copies[1]
    name = make(kms)
    signed_by_all(kms, name)
    dropped = shim.calls("C_DestroyObject")
    answer = changed(kms, name, verb, state)
    assert answer.json["key"]["state"] == state
    kms.wait(lambda: shim.calls("C_DestroyObject") > dropped, what="copies dropped")
    refused(kms, sign(kms, name, version=f"1.0.{next(VERSIONS)}"), 409, slug, "sign.release")
    if verb == "suspend":
        changed(kms, name, "resume", "active")
        signed_by_all(kms, name)
        changed(kms, name, "suspend", "suspended")
        changed(kms, name, "destroy", "destroying", delay_seconds=1)
        destroyed(kms, name)


@pytest.mark.parametrize("rule", ["C_CopyObject always fail:0x54", f"C_GetAttributeValue always set:{CKA_EXTRACTABLE}:1"])
def test_without_a_proper_copy_the_key_is_used_where_it_is(copies, kms, rule):
    shim = copies[1]
    name = make(kms)
    for pid in kms.lanes():
        kms.kill(pid)
    kms.wait(lambda: sign(kms, kms.before, version=f"1.0.{next(VERSIONS)}").status == 200, what="new lanes")
    shim.set(rule)
    signed_by_all(kms, name)
    assert shim.faults(rule.split()[0]) > 0
    shim.set()
    sound(kms)


@pytest.mark.parametrize("rule", ["C_SignInit first:1 fail:0xB3", "C_Sign first:1 fail:0x30", "C_SignInit first:1 logout", "C_GetAttributeValue first:1 fail:0x82"])
def test_copies_are_made_again_in_a_new_session(copies, kms, rule):
    shim = copies[1]
    name = make(kms)
    signed_by_all(kms, name)
    shim.set(rule)
    signed_by_all(kms, name)
    assert shim.faults(rule.split()[0]) > 0
    shim.set()
    assert copied(shim, signed_by_all, kms, name) <= 2
    sound(kms)


def test_switched_off_again(copies, kms):
    """A key that could be copied is not any more."""
    shim = copies[1]
    name = make(kms)
    switch(kms, "off")
    assert copied(shim, signed_by_all, kms, name) == 0
    assert not made(kms, make(kms))["copyable"]
    switch(kms, "on")
    assert copied(shim, signed_by_all, kms, name) >= 1
