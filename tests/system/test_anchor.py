"""The anchor: a log that was put back, cut or replaced is refused; the way out is an explicit, recorded decision; a crash never looks like either."""
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest

from kms import BIN, Instance, run, sha256

SLOT, DISTANCE = 112, 4096
REASON = "restored from last night's backup"


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kmsd(*argv, timeout=60, stdin=b""):
    done = run(BIN / "kmsd", *argv, check=False, timeout=timeout, stdin=stdin)
    return done.returncode, done.stdout.decode() + done.stderr.decode()


def slots(path):
    """[(counter, seq, hash)] of the valid slots, read as docs/log-format.md describes them."""
    data, found = Path(path).read_bytes(), []
    for at in (0, DISTANCE):
        slot = data[at:at + SLOT]
        if len(slot) == SLOT and slot[:16] == b"KMSDANCH" + struct.pack(">II", 1, 0) and sha256(slot[:80]) == slot[80:].hex():
            found.append((*struct.unpack(">QQ", slot[32:48]), slot[48:80].hex()))
    return sorted(found)


def refused(kms, *words):
    """A start that must be refused, with these words."""
    code, said = kmsd("run", "--settings", kms.dir / "kmsd.yaml", "--allow-dev")
    assert code == 78, said
    for word in words:
        assert word in said, (word, said)
    return said


def accept(kms, *options):
    return kmsd("anchor", "--dir", kms.dir, "--accept", "--reason", REASON, "--yes", *options)


def verify(kms):
    done = subprocess.run([BIN / "kms-audit", "verify", kms.dir, "--output", "json"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A stopped instance with a log that was copied half-way: (directory, copy of audit/ as it was then)."""
    top = tmp_path_factory.mktemp("anchor")
    kms = Instance(top / "dir")
    with kms:
        for number in range(3):
            assert kms.sign(f"1.{number}.0").status == 200
    shutil.copytree(kms.dir / "audit", top / "before")
    shutil.copytree(kms.dir / "tokens" / "keys", top / "token-before")
    with kms:
        for number in range(3, 6):
            assert kms.sign(f"1.{number}.0").status == 200
    return kms.dir, top


@pytest.fixture
def stopped(made, tmp_path):
    """A copy of it: an Instance that does not run."""
    shutil.copytree(made[0], tmp_path / "dir")
    for conf in (tmp_path / "dir" / "tokens").glob("*/softhsm2.conf"):
        conf.write_text(conf.read_text().replace(str(made[0]), str(tmp_path / "dir")))
    kms = Instance(tmp_path / "dir")
    yield kms
    kms.stop(check=False)


@pytest.fixture
def before(made):
    return made[1] / "before"


def anchor_file(kms):
    return kms.dir / "anchor" / "anchor"


def segment(kms):
    return kms.dir / "audit" / "00000000000000000000.jsonl"


def put_back(kms, before):
    shutil.rmtree(kms.dir / "audit")
    shutil.copytree(before, kms.dir / "audit")


def fork(kms, before):
    """The old log, continued by someone else: as long as the real one, and whole."""
    count = len(kms.lines())
    put_back(kms, before)
    lines = kms.lines()
    with open(segment(kms), "ab") as log:
        while len(lines) < count + 2:
            record = json.loads(lines[-1]) | {"seq": len(lines), "prev": sha256(lines[-1])}
            lines.append(json.dumps(record, sort_keys=True, separators=(",", ":")).encode())
            log.write(lines[-1] + b"\n")


def cut(kms, lines):
    kept = b"".join(line + b"\n" for line in kms.lines()[:-lines])
    segment(kms).write_bytes(kept)


# What the anchor says


def test_a_clean_stop_leaves_the_last_record(stopped):
    lines = stopped.lines()
    assert slots(anchor_file(stopped))[-1][1:] == (len(lines) - 1, sha256(lines[-1]))
    assert len(slots(anchor_file(stopped))) == 2
    code, said = kmsd("anchor", "--dir", stopped.dir)
    assert code == 0 and f"record {len(lines) - 1}:{sha256(lines[-1])}" in said and "sound" in said
    code, said = kmsd("check", "--dir", stopped.dir)
    assert code == 0 and "ok       anchor" in said


def test_it_follows_within_a_second_and_no_faster(own_kms):
    """Never ahead of the log, not slower than a second after a record, and at most one writing a second."""
    counters = set()
    for number in range(40):
        assert own_kms.sign(f"1.{number}.0").status == 200
        found = slots(anchor_file(own_kms))
        assert found, "both slots are damaged"
        lines = own_kms.lines()
        counter, seq, digest = found[-1]
        assert seq < len(lines) and digest == sha256(lines[seq])
        counters.add(counter)
        time.sleep(0.05)
    spread = sorted(counters)
    assert all(b - a > 950_000 for a, b in zip(spread, spread[1:])), spread
    own_kms.wait(lambda: slots(anchor_file(own_kms))[-1][1] == len(own_kms.lines()) - 1, seconds=3, what="the anchor at the head of the log")


# What is refused at the start


def test_the_log_was_put_back(stopped, before):
    put_back(stopped, before)
    head = len(stopped.lines()) - 1
    said = refused(stopped, f"the log ends at record {head}", "put back", "kmsd anchor --accept")
    assert f"record {slots(anchor_file(stopped))[-1][1]}:" in said
    code, said = kmsd("check", "--dir", stopped.dir)
    assert code == 1 and "problem  anchor" in said and "put back" in said
    assert kmsd("anchor", "--dir", stopped.dir)[0] == 1
    assert len(stopped.lines()) == head + 1, "a refused start wrote to the log"


@pytest.mark.parametrize("lines", [1, 3])
def test_the_log_was_cut(stopped, lines):
    cut(stopped, lines)
    refused(stopped, "cut short", "kmsd anchor --accept")


def test_a_torn_tail_is_not_cut_behind_the_anchor(stopped):
    """The last record was synced once: half of it is no crash."""
    whole = segment(stopped).read_bytes()
    segment(stopped).write_bytes(whole[:-20])
    refused(stopped, "no torn tail", "is not cut")
    assert segment(stopped).read_bytes() == whole[:-20] and not list((stopped.dir / "audit").glob("torn-*"))


def test_a_torn_tail_behind_the_last_record_is_cut(stopped):
    segment(stopped).write_bytes(segment(stopped).read_bytes() + b'{"actor":{"cred"')
    stopped.start()
    assert stopped.records(event="log.recovered")


def test_the_log_was_forked(stopped, before):
    fork(stopped, before)
    refused(stopped, "another record there", "replaced or forked")


def test_the_log_of_another_instance(stopped, tmp_path):
    with Instance(tmp_path / "other") as other:
        pass
    shutil.copyfile(anchor_file(other), anchor_file(stopped))
    said = refused(stopped)
    assert "another record there" in said or "belongs to instance" in said


def test_the_anchor_is_gone(stopped):
    """Never a first start."""
    anchor_file(stopped).unlink()
    refused(stopped, "is missing", "no first start", "kmsd anchor --accept")
    assert not anchor_file(stopped).exists()


def damage(kms, *which):
    with open(anchor_file(kms), "r+b") as file:
        for slot in which:
            file.seek(slot * DISTANCE + 60)
            file.write(b"damaged")


@pytest.mark.parametrize("slot", [0, 1])
def test_one_damaged_slot_is_survived(stopped, slot):
    damage(stopped, slot)
    code, said = kmsd("check", "--dir", stopped.dir)
    assert code == 0 and "one of its slots is damaged" in said
    stopped.start()
    stopped.stop()
    assert "one of its two slots is damaged" in (stopped.dir / "kmsd.log").read_text()
    assert len(slots(anchor_file(stopped))) == 2


def test_two_damaged_slots_are_refused(stopped):
    damage(stopped, 0, 1)
    refused(stopped, "damaged in both slots", "kmsd anchor --accept")


# The way out


@pytest.mark.parametrize("how", ["ahead", "replaced", "missing", "unusable", "torn"])
def test_the_way_out(stopped, before, how):
    if how == "ahead":
        cut(stopped, 2)
    elif how == "replaced":
        lines = stopped.lines()
        other = json.dumps(json.loads(lines[-1]) | {"reason": "another"}, sort_keys=True, separators=(",", ":")).encode()
        segment(stopped).write_bytes(b"".join(line + b"\n" for line in lines[:-1] + [other]))
    elif how == "missing":
        anchor_file(stopped).unlink()
    elif how == "unusable":
        damage(stopped, 0, 1)
    else:
        segment(stopped).write_bytes(segment(stopped).read_bytes()[:-20])
    old = slots(anchor_file(stopped))[-1] if how in ("ahead", "replaced", "torn") else None
    refused(stopped)
    code, said = accept(stopped)
    assert code == 0, said
    record = stopped.records()[-1]
    assert record["event"] == "anchor.reset" and record["outcome"] == "ok" and record["actor"]["kind"] == "system" and record["reason"] == REASON
    assert record["detail"]["how"] == ("ahead" if how == "torn" else how)
    assert record["detail"].get("old") == (old and {"counter": old[0], "seq": old[1], "hash": old[2]})
    assert slots(anchor_file(stopped))[0] == (record["detail"]["counter"], record["seq"], sha256(stopped.lines()[-1]))
    if how == "torn":
        assert stopped.records()[-2]["event"] == "log.recovered"
    stopped.start()
    assert stopped.sign("7.0.0").status == 200
    stopped.stop()
    stopped.check_chain()
    assert any("anchor" in note and f"record {record['seq']}" in note for note in verify(stopped)["notes"])


def test_the_way_out_asks_and_is_narrow(stopped):
    command = ["anchor", "--dir", stopped.dir, "--accept"]
    code, said = kmsd(*command, "--reason", REASON, "--yes")
    assert code == 1 and "nothing to accept" in said
    cut(stopped, 1)
    lines = stopped.lines()
    for options in ([], ["--yes"], ["--reason", REASON, "--token", "7"], ["--reason", REASON, "--token", "7:xy"]):
        assert kmsd(*command, *options)[0] == 2, options
    for reason in ("", "x" * 257, "two\nlines"):
        code, said = kmsd(*command, "--yes", "--reason", reason)
        assert code == 1 and "--reason" in said
    code, said = kmsd(*command, "--reason", REASON)
    assert code == 1 and "nobody to ask" in said
    assert stopped.lines() == lines


def test_the_way_out_is_closed_while_kmsd_runs(own_kms):
    count = len(own_kms.lines())
    code, said = accept(own_kms)
    assert code == 1 and "stop the service first" in said
    assert len(own_kms.lines()) == count
    code, said = kmsd("anchor", "--dir", own_kms.dir)
    assert code == 0 and "sound" in said


def test_the_way_out_asks_on_a_terminal(stopped):
    import pty
    cut(stopped, 1)
    for answer, expected in ((b"yes\n", 1), (b"accept\n", 0)):
        controller, terminal = pty.openpty()
        child = subprocess.Popen([BIN / "kmsd", "anchor", "--dir", stopped.dir, "--accept", "--reason", REASON], stdin=terminal,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        os.write(controller, answer)
        said = child.communicate(timeout=30)[0].decode()
        os.close(controller), os.close(terminal)
        assert child.returncode == expected and "Type accept" in said, said


# While it runs


def test_a_missing_file_is_made_again_while_the_service_knows_the_log(own_kms):
    anchor_file(own_kms).unlink()
    assert own_kms.sign("1.0.0").status == 200
    own_kms.wait(lambda: anchor_file(own_kms).exists(), seconds=5, what="a new anchor")
    own_kms.stop()
    own_kms.start()


def test_an_anchor_that_cannot_be_written_does_not_stop_signing(own_kms):
    folder = anchor_file(own_kms).parent
    away = folder.with_name("away")
    folder.rename(away)
    folder.write_text("in the way")
    for number in range(3):
        assert own_kms.sign(f"1.{number}.0").status == 200
        time.sleep(0.7)
    assert own_kms.request("admin", "GET", "/v1/status").json["anchor"] not in ("", "kept")
    said = (own_kms.dir / "kmsd.log").read_text()
    assert said.count("it is tried again every second") == 1, said
    folder.unlink()
    away.rename(folder)
    own_kms.wait(lambda: slots(anchor_file(own_kms))[-1][1] == len(own_kms.lines()) - 1, seconds=5, what="the anchor at the head of the log")
    own_kms.wait(lambda: "written again" in (own_kms.dir / "kmsd.log").read_text(), seconds=5, what="the note of it")
    own_kms.wait(lambda: own_kms.request("admin", "GET", "/v1/status").json["anchor"] == "kept", seconds=20, what="the status")


def works(kms):
    """Every lane works: none is in the middle of a login, which some tokens do not survive being killed in."""
    try:
        answer = kms.request("admin", "GET", "/v1/status")
    except OSError:
        return False
    return answer.status == 200 and len(answer.json["lanes"]) >= 2 and all(lane["state"] == "ready" for lane in answer.json["lanes"])


def test_a_killed_service_is_never_refused(own_kms):
    """Twenty times kill -9 at a random moment: neither anchor is ever ahead of what the log kept."""
    seed = int(os.environ.get("KMSD_SEED", random.SystemRandom().randrange(1 << 32)))
    print("seed", seed)
    dice = random.Random(seed)
    version = 0
    for _ in range(20):
        own_kms.wait(lambda: works(own_kms), what="all lanes")
        until = time.monotonic() + dice.random() * 0.5
        while time.monotonic() < until:
            version += 1
            assert own_kms.sign(f"1.{version}.0").status == 200
        victims = [own_kms.child("kmsd-core")] if dice.random() < 0.5 else [own_kms.pid, *own_kms.children()]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        if len(victims) > 1:
            own_kms.wait(lambda: not any(alive(pid) for pid in victims), what="their end")
            assert kmsd("anchor", "--dir", own_kms.dir)[0] == 0
            own_kms.start()
    own_kms.wait(lambda: works(own_kms), what="all lanes")
    assert own_kms.sign("9.0.0").status == 200
    own_kms.stop()
    assert kmsd("anchor", "--dir", own_kms.dir)[0] == 0
    own_kms.check_chain()
    assert not own_kms.records(event="anchor.reset")


# The copy on the token


def token_tool(kms, *options):
    settings = (kms.dir / "kmsd.yaml").read_text()
    module = next(line.split("'")[1] for line in settings.splitlines() if "module:" in line)
    env = {**os.environ, "SOFTHSM2_CONF": str(kms.dir / "tokens" / "keys" / "softhsm2.conf")}
    return run("pkcs11-tool", "--module", module, "--token-label", "kmsd-keys", "--login", "--pin", (kms.dir / "pin-keys").read_text().strip(),
               "--type", "data", *options, env=env).stdout


def label(kms):
    return "kmsd:anchor:" + kms.records(event="log.genesis")[0]["detail"]["instance"]


def copies(kms):
    """(number of objects, (counter, seq, hash) of the one that is found by its label)."""
    count = token_tool(kms, "--list-objects").decode().count(label(kms))
    out = kms.dir.parent / "object"
    out.write_bytes(b"")
    token_tool(kms, "--read-object", "--label", label(kms), "--output-file", out)
    found = slots(out)
    return count, found[0] if found else None


def reaches(kms, seq):
    """Does the copy name that record or a later one? Asked while the service runs, which may be replacing it at that moment."""
    try:
        _, copy = copies(kms)
    except AssertionError:
        return False
    return copy is not None and copy[1] >= seq


def put_copy(kms, data):
    """Puts other bytes in place of the copy, as whoever has the PIN could."""
    file = kms.dir.parent / "object"
    file.write_bytes(data)
    while token_tool(kms, "--list-objects").decode().count(label(kms)):
        token_tool(kms, "--delete-object", "--label", label(kms))
    token_tool(kms, "--write-object", file, "--label", label(kms))


def anchor_now(kms):
    """Writes the file as it would stand behind the log that is there now: what somebody with root does after putting a log back."""
    lines = kms.lines()
    instance = bytes.fromhex(kms.records(event="log.genesis")[0]["detail"]["instance"])
    slot = b"KMSDANCH" + struct.pack(">II", 1, 0) + instance + struct.pack(">QQ", 7, len(lines) - 1) + bytes.fromhex(sha256(lines[-1]))
    anchor_file(kms).write_bytes((slot + bytes.fromhex(sha256(slot))).ljust(DISTANCE, b"\0") * 2)
    assert kmsd("anchor", "--dir", kms.dir)[0] == 0


def test_the_token_holds_the_last_record_after_a_stop(stopped):
    lines = stopped.lines()
    count, copy = copies(stopped)
    assert count == 1 and copy[1:] == (len(lines) - 1, sha256(lines[-1]))
    stopped.start()
    started = stopped.records(event="daemon.start")[-1]["seq"]
    stopped.wait(lambda: reaches(stopped, started), seconds=5, what="a copy that names this start")
    assert stopped.sign("8.0.0").status == 200
    stopped.stop()
    count, copy = copies(stopped)
    assert count == 1 and copy[1] == len(stopped.lines()) - 1


def test_log_and_file_put_back_together_are_refused_by_the_token(stopped, before):
    _, copy = copies(stopped)
    put_back(stopped, before)
    anchor_now(stopped)
    head = len(stopped.lines()) - 1
    signatures = len(stopped.records(event="sign.release"))
    said = refused(stopped, "the anchor on the token", f"record {copy[1]}:{copy[2]}", f"the log ends at record {head}", "kmsd anchor --accept",
                   f"--token {copy[1]}:{copy[2]}")
    assert "ready" not in said
    assert len(stopped.records(event="sign.release")) == signatures
    assert "anchor" in stopped.records()[-1]["reason"] and stopped.records()[-1]["event"] == "daemon.stop"
    assert copies(stopped) == (1, copy), "a refused start must leave the copy as it is"
    refused(stopped, "the anchor on the token")
    code, said = accept(stopped, "--token", f"{copy[1]}:{copy[2]}")
    assert code == 0, said
    record = stopped.records()[-1]
    assert record["detail"]["how"] == "sound" and record["detail"]["token"] == {"seq": copy[1], "hash": copy[2]}
    stopped.start()
    assert stopped.sign("9.0.0").status == 200
    stopped.stop()
    stopped.check_chain()
    verify(stopped)
    assert copies(stopped)[1][1] == len(stopped.lines()) - 1


def test_a_forked_log_with_its_own_file_is_refused_by_the_token(stopped, before):
    fork(stopped, before)
    anchor_now(stopped)
    refused(stopped, "the anchor on the token", "another record there")


def test_another_name_does_not_overrule_the_token(stopped, before):
    _, copy = copies(stopped)
    put_back(stopped, before)
    anchor_now(stopped)
    refused(stopped)
    assert accept(stopped, "--token", f"{copy[1] + 1}:{copy[2]}")[0] == 0
    refused(stopped, "the anchor on the token")


def test_a_file_that_was_overruled_overrules_the_copy_before_it(stopped, before):
    """One decision is enough: the copy on the token is older than the file's anchor that it was about."""
    put_back(stopped, before)
    assert accept(stopped)[0] == 0
    stopped.start()
    assert stopped.sign("9.0.0").status == 200
    stopped.stop()
    assert "was accepted so" in (stopped.dir / "kmsd.log").read_text()
    # and it holds for that copy alone: what is signed from now on is bound again
    cut(stopped, 2)
    anchor_now(stopped)
    refused(stopped, "the anchor on the token")


def test_a_token_put_back_is_no_reason_to_refuse(stopped, made):
    """An older copy is a lower bound as well."""
    store = stopped.dir / "tokens" / "keys" / "store"
    shutil.rmtree(store)
    shutil.copytree(made[1] / "token-before" / "store", store)
    stopped.start()
    stopped.stop()
    assert copies(stopped)[1][1] == len(stopped.lines()) - 1


@pytest.mark.parametrize("data", [b"nonsense", b"KMSDANCH" + bytes(104)])
def test_a_damaged_copy_is_replaced(stopped, data):
    put_copy(stopped, data)
    stopped.start()
    stopped.stop()
    count, copy = copies(stopped)
    assert copy[1] == len(stopped.lines()) - 1 and count == 1


def stop_new_lane(kms):
    """Ends the core and stops the administrative lane that comes with the next one, as early as it can be seen; its pid."""
    core, old = kms.child("kmsd-core"), kms.child("kmsd-token", lane="admin")
    os.kill(core, signal.SIGKILL)
    until = time.monotonic() + 10
    while time.monotonic() < until:
        for pid, argv in kms.children().items():
            if pid != old and argv and argv[0].endswith("kmsd-token") and "admin" in argv:
                os.kill(pid, signal.SIGSTOP)
                return pid
    raise AssertionError("no new lane")


def first_answer(kms, version):
    """Of a sign request, once the doors are open again."""
    def ask():
        try:
            return kms.sign(version)
        except OSError:
            return None

    return kms.wait(ask, what="an answer")


def test_nothing_is_signed_before_the_token_was_asked(own_kms):
    """The administrative lane is stopped before it can answer: signing lanes work, and yet nothing is signed."""
    for attempt in range(8):
        own_kms.wait(lambda: works(own_kms), what="all lanes")
        signed = len(own_kms.records(event="sign.release"))
        pid = stop_new_lane(own_kms)
        try:
            answer = first_answer(own_kms, f"1.{attempt}.0")
            while answer.status == 503 and "whole" not in answer.json["detail"]:
                time.sleep(0.05)
                answer = first_answer(own_kms, f"1.{attempt}.0")
            if answer.status == 200:
                continue  # it was asked before it could be stopped
            assert answer.slug == "token-unavailable" and int(answer.headers["retry-after"]) >= 1
            assert len(own_kms.records(event="sign.release")) == signed
            assert own_kms.request("ci", "GET", "/v1/whoami").status == 200
        finally:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass  # it was silent for too long and is replaced
        own_kms.wait(lambda: own_kms.sign("2.0.0").status == 200, seconds=25, what="a signature")
        return
    raise AssertionError("the lane was always faster")
