"""kms-audit against logs that this test writes itself (auditlog.py), sound and damaged in every way that the documentation promises to find."""
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import auditlog  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = os.path.join(ROOT, os.environ.get("KMSD_BUILD", "build"), "bin", "kms-audit")
INDEPENDENT = os.path.join(ROOT, "tests", "independent_check.py")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return auditlog.Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def original(keys):
    return auditlog.whole(keys)


@pytest.fixture
def log(original):
    return original.copy()


def verify(folder, *options):
    done = subprocess.run([TOOL, "verify", str(folder), "--output", "json", *options], capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 1, 2), done.stderr
    report = json.loads(done.stdout)
    report["exit"] = done.returncode
    report["found"] = [(f["kind"], *f["records"]) if "records" in f else (f["kind"],) for f in report["findings"]]
    return report


def independent(folder, *heads):
    done = subprocess.run([sys.executable, INDEPENDENT, str(folder), *heads], capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode


def check(log, folder, *options, split=None):
    log.write(folder, split)
    return verify(folder, *options)


def edit(log, place, **members):
    """Changes a record's line in place, canonically, and repairs nothing else."""
    log.lines[place] = auditlog.canonical(dict(log.records[place], **members))


# Sound logs


def test_sound(log, tmp_path):
    report = check(log, tmp_path, "--head", log.head(), split=30)
    assert report["found"] == [] and report["exit"] == 0 and report["verdict"] == "sound"
    assert report["records"] == 60 and report["signatures"] == 5 and report["requests"] == 8 and report["bodies"] == 2
    assert report["notes"] == []
    assert verify(tmp_path / "audit")["exit"] == 0
    assert independent(tmp_path, log.head()) == 0


def test_without_a_head_the_window_is_named(log, tmp_path):
    report = check(log, tmp_path)
    assert report["exit"] == 0 and any("records 0-59 are covered by no outside evidence" in n for n in report["notes"])
    assert any("records 41-59" in n for n in verify(tmp_path, "--head", log.head(40))["notes"])


def test_text_output_says_the_range_and_the_place(log, tmp_path):
    edit(log, 41, reason="changed")
    log.write(tmp_path)
    done = subprocess.run([TOOL, "verify", str(tmp_path)], capture_output=True, text=True)
    start = sum(len(line) + 1 for line in log.lines[:41])
    assert done.returncode == 1
    assert "record 41: altered" in done.stdout
    assert "00000000000000000000.jsonl line 42, bytes %d-%d" % (start, start + len(log.lines[41])) in done.stdout
    assert "tampered: 60 records" in done.stdout


# The anchor's way out


OLD = {"counter": 5, "hash": "ab" * 32, "seq": 70}


@pytest.mark.parametrize("detail", [
    {"counter": 9, "how": "ahead", "old": OLD}, {"counter": 9, "how": "missing"}, {"counter": 9, "how": "unusable", "token": {"hash": "cd" * 32, "seq": 3}},
    {"counter": 9, "how": "sound", "old": OLD, "token": {"hash": "cd" * 32, "seq": 3}}])
def test_an_accepted_log_is_sound_and_noted(log, tmp_path, detail):
    log.add("anchor.reset", "ok", log.SYSTEM, reason="restored", detail=detail)
    report = check(log, tmp_path, "--head", log.head())
    assert report["exit"] == 0 and report["found"] == []
    assert any("record 60: the log was accepted" in note for note in report["notes"])


@pytest.mark.parametrize("kind, detail", [
    ("invalid", {"counter": 9, "how": "ahead"}), ("invalid", {"counter": 9, "how": "missing", "old": OLD}),
    ("invalid", {"counter": 5, "how": "ahead", "old": OLD}), ("altered", {"counter": 9, "how": "somehow"}), ("altered", {"counter": 9}),
    ("altered", {"how": "missing"}), ("altered", {"counter": 9, "how": "missing", "extra": 1}),
    ("altered", {"counter": 9, "how": "missing", "token": {"seq": 3}})])
def test_a_false_acceptance_is_found(log, tmp_path, kind, detail):
    log.add("anchor.reset", "ok", log.SYSTEM, reason="restored", detail=detail)
    report = check(log, tmp_path, "--head", log.head())
    assert report["exit"] == 1 and report["found"] == [(kind, 60, 60)]


# What the token held


def findings(**lists):
    return {"duplicate": [], "foreign": [], "missing": [], "others": 0, "quarantined": [], **lists}


def missed(name="release", key_id="01" * 16, private=0, public=1):
    return {"key_id": key_id, "name": name, "private": private, "public": public, "version": 1}


@pytest.mark.parametrize("outcome, lists, noted", [
    ("ok", {}, False), ("ok", {"foreign": [{"class": "data", "id": ""}], "quarantined": [{"class": "private-key", "id": "ab"}], "others": 3}, False),
    ("error", {"missing": [missed()]}, True), ("error", {"duplicate": [missed(private=2)]}, True)])
def test_findings_on_the_token_are_sound_and_noted(log, tmp_path, outcome, lists, noted):
    log.add("token.reconcile", outcome, log.SYSTEM, detail=findings(**lists))
    report = check(log, tmp_path, "--head", log.head())
    assert report["exit"] == 0 and report["found"] == []
    assert any("record 60: the token did not hold 1 of its keys" in note for note in report["notes"]) == noted


@pytest.mark.parametrize("kind, outcome, detail", [
    ("invalid", "ok", findings(missing=[missed()])), ("invalid", "error", findings()), ("invalid", "error", findings(missing=[missed(private=1)])),
    ("invalid", "error", findings(missing=[missed(private=2)])), ("invalid", "error", findings(duplicate=[missed()])),
    ("altered", "error", findings(missing=[missed(key_id="x")])), ("altered", "ok", findings(more=[])), ("altered", "ok", {"missing": []}),
    ("altered", "denied", findings())])
def test_false_findings_are_found(log, tmp_path, kind, outcome, detail):
    log.add("token.reconcile", outcome, log.SYSTEM, detail=detail)
    report = check(log, tmp_path, "--head", log.head())
    assert report["exit"] == 1 and report["found"] == [(kind, 60, 60)]


@pytest.mark.parametrize("item", [missed(name="absent"), missed(key_id="03" * 16), missed(name="second", key_id="02" * 16)])
def test_findings_about_no_key_of_the_log(log, tmp_path, item):
    log.add("token.reconcile", "error", log.SYSTEM, detail=findings(missing=[item]))
    assert check(log, tmp_path, "--head", log.head())["exit"] != 0


# Steps of the clock

def test_steps_of_the_clock_are_noted_and_confirmed(log, tmp_path):
    log.step()
    log.step("2026-03-03T07:00:00.500000Z", 3601, "2026-03-03T08:00:01.900000Z")
    log.confirm(61)
    log.step()
    report = check(log, tmp_path, "--head", log.head())
    assert report["exit"] == 0 and report["found"] == []
    assert [n for n in report["notes"] if "the clock was set" in n] == [
        "record 60: the clock was set by -3600 seconds, to 2026-03-03T07:00:00.000000Z",
        "record 61: the clock was set by 3601 seconds, to 2026-03-03T08:00:01.900000Z",
        "record 63: the clock was set by -3600 seconds, to 2026-03-03T07:00:00.000000Z"]


@pytest.mark.parametrize("kind, change", [
    ("invalid", {"seconds": 3600}), ("invalid", {"seconds": -3599}), ("invalid", {"seconds": -300, "end": "2026-03-03T07:55:00.000000Z"}),
    ("invalid", {"seconds": 0, "end": "2026-03-03T08:00:00.000000Z"}), ("altered", {"seconds": "1"}), ("altered", {"end": "7:00"})])
def test_a_step_that_is_none(log, tmp_path, kind, change):
    log.step(**change)
    assert check(log, tmp_path)["found"] == [(kind, 60, 60)]


def test_confirmations_of_no_open_step(log, tmp_path):
    log.confirm(59)
    log.step()
    log.step()
    log.confirm(61)
    log.confirm(62)
    log.confirm(62)
    assert check(log, tmp_path)["found"] == [("invalid", 60, 60), ("invalid", 63, 63), ("invalid", 65, 65)]


@pytest.mark.parametrize("asked", [{"seq": 59}, {"reason": "another"}, {"more": 1}, {"seq": "60"}])
def test_a_confirmation_other_than_signed(log, tmp_path, asked):
    log.step()
    log.confirm(60, asked=asked)
    assert check(log, tmp_path)["found"] == [("invalid", 61, 61)]


def test_every_event_is_documented():
    with open(os.path.join(ROOT, "audit", "verify", "schema.h")) as f:
        events = re.findall(r'X\([A-Z_]+, "([a-z]+\.[a-z]+)"\)', f.read())
    with open(os.path.join(ROOT, "docs", "log-format.md")) as f:
        table = [line.split("|")[1] for line in f if line.startswith("| ")]
    assert len(events) > 15 and [e for e in events if not any(f"`{e}`" in cell for cell in table)] == []


# Damage to the chain


def test_edited_records(log, tmp_path):
    edit(log, 20, reason="changed")
    edit(log, 41, reason="changed")
    edit(log, 42, reason="changed")
    report = check(log, tmp_path)
    assert report["exit"] == 1 and report["found"] == [("altered", 20, 20), ("altered", 41, 42)]
    assert verify(tmp_path, "--chain-only")["found"] == report["found"]
    assert independent(tmp_path) == 1


def test_altered_number(log, tmp_path):
    edit(log, 41, seq=141)
    assert check(log, tmp_path)["found"] == [("altered", 41, 41)]


def test_deleted_records(log, tmp_path):
    del log.lines[40:42]
    del log.lines[17:20]
    report = check(log, tmp_path)
    assert report["exit"] == 1 and report["found"] == [("missing", 17, 19), ("missing", 40, 41)]
    assert independent(tmp_path) == 1


def test_deleted_first_records(log, tmp_path):
    del log.lines[:3]
    report = check(log, tmp_path)
    assert report["exit"] == 1 and ("missing", 0, 2) in report["found"]


def test_deleted_segment(log, tmp_path):
    audit = log.write(tmp_path, split=30)
    os.remove(os.path.join(audit, "%020d.jsonl" % 0))
    report = verify(tmp_path)
    assert report["exit"] == 1 and ("missing", 0, 29) in report["found"]


def test_swapped_records(log, tmp_path):
    log.lines[41], log.lines[42] = log.lines[42], log.lines[41]
    report = check(log, tmp_path)
    assert report["exit"] == 1 and report["found"] == [("order", 41, 42)]
    assert independent(tmp_path) == 1


def test_moved_record(log, tmp_path):
    log.lines.insert(40, log.lines.pop(30))
    assert check(log, tmp_path)["found"] == [("order", 30, 40)]


def test_duplicated_record(log, tmp_path):
    log.lines.insert(41, log.lines[40])
    report = check(log, tmp_path)
    assert report["exit"] == 1 and report["found"] == [("inserted", 40, 40)]
    assert independent(tmp_path) == 1


def test_duplicated_range(log, tmp_path):
    log.lines[46:46] = log.lines[41:46]
    assert check(log, tmp_path)["found"] == [("inserted", 41, 45)]


def test_copied_from_far(log, tmp_path):
    log.lines.insert(50, log.lines[20])
    assert check(log, tmp_path)["found"] == [("inserted", 20, 20)]


def test_inserted_record(log, tmp_path):
    log.lines.insert(42, auditlog.canonical(dict(log.records[42], reason="never happened")))
    report = check(log, tmp_path)
    assert report["exit"] == 1 and report["found"] == [("inserted", 42, 42)]
    assert report["findings"][0]["first_line"]["line"] == 43
    assert independent(tmp_path) == 1


def test_inserted_garbage(log, tmp_path):
    log.lines[42:42] = [b"garbage", b"{}"]
    report = check(log, tmp_path)
    assert report["exit"] == 1 and report["found"] == [("inserted",)]
    assert (report["findings"][0]["first_line"]["line"], report["findings"][0]["last_line"]["line"]) == (43, 44)


def test_overwritten_with_garbage(log, tmp_path):
    log.lines[41] = b"\xff" * 100
    report = check(log, tmp_path)
    assert report["exit"] == 1 and report["found"] == [("altered", 41, 41)]
    log.lines[41] = b"x" * 70000
    assert check(log, tmp_path / "b")["found"] == [("altered", 41, 41)]


def test_joined_lines(log, tmp_path):
    log.lines[41:43] = [log.lines[41] + log.lines[42]]
    assert check(log, tmp_path)["found"] == [("altered", 41, 42)]


@pytest.mark.parametrize("change", [
    lambda line: line.replace(b'{"actor"', b'{ "actor"'), lambda line: line + b"\r", lambda line: line.replace(b'"v":1', b'"v": 1'),
    lambda line: line.replace(b"forbidden", b"forb\\u0069dden"), lambda line: b'{"v":1,' + line[1:].replace(b',"v":1', b""),
    lambda line: line.replace(b"192.0.2.66", b"192.0.2.66\\/")])
def test_not_canonical(log, tmp_path, change):
    assert change(log.lines[41]) != log.lines[41]
    log.lines[41] = change(log.lines[41])
    report = check(log, tmp_path)
    assert report["exit"] == 1 and report["found"] == [("altered", 41, 41)] and "canonical" in report["findings"][0]["reason"]


@pytest.mark.parametrize("line", [b'{"v":1.0}', b'{"v":1e2}', b'{"a":9007199254740992}', b'{"seq":41,"seq":41}'])
def test_unreadable_numbers_and_names(log, tmp_path, line):
    log.lines[41] = line
    assert check(log, tmp_path)["found"] == [("altered", 41, 41)]


@pytest.mark.parametrize("members", [{"event": "key.steal"}, {"colour": "red"}, {"v": 2}, {"outcome": "maybe"}, {"detail": {"x": 1}}, {"src": 7},
                                     {"intent_seq": 3}, {"time": "2026-03-03 08:00:00"}])
def test_outside_the_table(log, tmp_path, members):
    """A consistent chain does not help: the last record is judged by the table too."""
    log.records[30].update(members)
    log.rechain(30)
    report = check(log, tmp_path)
    assert report["exit"] == 1 and report["found"][0] == ("altered", 30, 30)


def test_time_goes_back(log, tmp_path):
    log.records[58]["time"] = "2026-03-03T08:00:00.000001Z"
    log.rechain(58)
    assert ("invalid", 58, 58) in check(log, tmp_path)["found"]


def test_segment_names(log, tmp_path):
    audit = log.write(tmp_path, split=30)
    os.rename(os.path.join(audit, "%020d.jsonl" % 30), os.path.join(audit, "%020d.jsonl" % 31))
    report = verify(tmp_path)
    assert report["exit"] == 1 and report["found"] == [("segment", 30, 30)]


def test_segment_join(log, tmp_path):
    audit = log.write(tmp_path, split=30)
    with open(os.path.join(audit, "%020d.jsonl" % 0), "rb+") as f:
        f.truncate(os.path.getsize(f.name) - 1)
    assert verify(tmp_path)["found"] == [("altered", 29, 29)]


def test_new_segment_may_be_empty(log, tmp_path):
    audit = log.write(tmp_path)
    open(os.path.join(audit, "%020d.jsonl" % 60), "w").close()
    assert verify(tmp_path)["exit"] == 0
    open(os.path.join(audit, "%020d.jsonl" % 77), "w").close()
    assert verify(tmp_path)["exit"] == 1


# The end of the log and heads


def test_torn_tail_is_a_note(log, tmp_path):
    audit = log.write(tmp_path)
    with open(os.path.join(audit, "%020d.jsonl" % 0), "ab") as f:
        f.write(log.lines[41][:100])
    report = verify(tmp_path, "--head", log.head())
    assert report["exit"] == 0 and report["records"] == 60
    assert any("unfinished line" in n for n in report["notes"])
    assert verify(tmp_path, "--head", "60:" + "0" * 64)["found"] == [("head",)]


def test_truncated(log, tmp_path):
    head = log.head()
    del log.lines[50:]
    report = check(log, tmp_path)
    assert report["exit"] == 0
    report = verify(tmp_path, "--head", head)
    assert report["exit"] == 1 and "ends at record 49" in report["findings"][0]["reason"]
    assert independent(tmp_path) == 0 and independent(tmp_path, head) == 1


def test_rolled_back_and_gone_on(log, original, tmp_path):
    del log.lines[50:], log.records[50:]
    for _ in range(20):
        log.refused()
    report = check(log, tmp_path)
    assert report["exit"] == 0
    report = verify(tmp_path, "--head", original.head(55))
    assert report["exit"] == 1 and report["found"] == [("head", 55, 55)]
    assert verify(tmp_path, "--head", original.head(49), "--head", original.head(10))["exit"] == 0
    assert independent(tmp_path, original.head(55)) == 1


def test_emptied(log, tmp_path):
    head = log.head()
    log.lines = []
    assert check(log, tmp_path)["exit"] == 2
    assert verify(tmp_path, "--head", head)["exit"] == 1
    assert verify(tmp_path / "nowhere")["exit"] == 2


def test_history_rewritten_before_a_statement(log, tmp_path):
    """The statement of record 57 was signed with the hash of record 50: a consistent new chain does not agree with it."""
    log.records[45]["reason"] = "changed"
    log.rechain(45)
    report = check(log, tmp_path)
    assert report["exit"] == 1 and report["found"] == [("invalid", 57, 57)] and "log_head" in report["findings"][0]["reason"]
    assert verify(tmp_path, "--chain-only")["exit"] == 0


# Bodies


def test_altered_blob(log, tmp_path):
    log.blobs[log.policy] += b"\n# and everybody may sign\n"
    report = check(log, tmp_path)
    assert report["exit"] == 1 and report["found"] == [("blob altered", 4, 4)]


def test_missing_blob(log, tmp_path):
    del log.blobs[auditlog.sha256(auditlog.POLICY_1)]
    report = check(log, tmp_path)
    assert report["exit"] == 2 and report["found"] == [("blob missing", 0, 0)]
    assert verify(tmp_path, "--chain-only")["exit"] == 0


def test_tampered_wins_over_missing(log, tmp_path):
    log.blobs = {}
    edit(log, 41, reason="changed")
    assert check(log, tmp_path)["exit"] == 1


def test_bytes_kept_aside(log, tmp_path):
    data = b'{"actor":{"cr'
    name = "torn-60-" + auditlog.sha256(data)
    log.add("log.recovered", "ok", log.SYSTEM, detail={"bytes": len(data), "file": name, "sha256": auditlog.sha256(data)})
    audit = log.write(tmp_path)
    assert verify(tmp_path)["exit"] == 0 and any("not there any more" in n for n in verify(tmp_path)["notes"])
    with open(os.path.join(audit, name), "wb") as f:
        f.write(data)
    assert verify(tmp_path)["exit"] == 0
    with open(os.path.join(audit, name), "wb") as f:
        f.write(data + b"x")
    assert verify(tmp_path)["found"] == [("blob altered", 60, 60)]


def test_whole_records_among_the_bytes_kept_aside(log, tmp_path):
    """Somebody edits a record near the end; the service takes all behind it for a torn tail and cuts it. The cut bytes tell."""
    data = b"garbage\n" + log.lines[58] + b"\n"
    name = "torn-60-" + auditlog.sha256(data)
    log.add("log.recovered", "ok", log.SYSTEM, detail={"bytes": len(data), "file": name, "sha256": auditlog.sha256(data)})
    with open(os.path.join(log.write(tmp_path), name), "wb") as f:
        f.write(data)
    report = verify(tmp_path)
    assert report["exit"] == 0 and any("hold 1 whole records" in n for n in report["notes"])


# State snapshots


def name_snapshot(log, seq, **members):
    log.add("log.snapshot", "ok", log.SYSTEM, detail={"bytes": 4096, "file": "%020d.jsonl" % seq, "seq": seq, "sha256": "ab" * 32, **members})


def test_named_snapshots(log, tmp_path):
    """The files are no evidence: nobody asks for them."""
    name_snapshot(log, 50)
    name_snapshot(log, 61)
    assert check(log, tmp_path)["exit"] == 0


@pytest.mark.parametrize("seq,members", [(0, {}), (61, {}), (50, {"bytes": 0}), (50, {"file": "%020d.jsonl" % 51}), (50, {"file": "../50.jsonl"})])
def test_a_snapshot_that_cannot_be(log, tmp_path, seq, members):
    name_snapshot(log, seq, **members)
    report = check(log, tmp_path)
    assert report["exit"] == 1 and report["found"] == [("invalid", 60, 60)]


def test_a_snapshot_that_is_not_newer(log, tmp_path):
    name_snapshot(log, 50)
    name_snapshot(log, 50)
    report = check(log, tmp_path)
    assert report["exit"] == 1 and report["found"] == [("invalid", 61, 61)]


# Signatures


def test_forged_release_signature(log, tmp_path):
    log.sign("3.0.0", key="other")
    report = check(log, tmp_path)
    assert report["exit"] == 1 and report["found"] == [("signature", 60, 60)]


@pytest.mark.parametrize("change", [
    lambda r: r["digest"].update(hex="12" * 32), lambda r: r["artifact"].update(version="2.0.2"), lambda r: r["artifact"].update(app="Other"),
    lambda r: r["detail"].update(size=7), lambda r: r["detail"].pop("size"), lambda r: r["detail"].update(name="x.zip"),
    lambda r: r.update(req="f" * 32),
    lambda r: r.update(source_claimed="git:elsewhere"), lambda r: r["detail"].update(issued="2026-03-03T08:00:00.000000Z")])
def test_every_signed_member_is_bound(log, tmp_path, change):
    change(log.records[57])
    log.rechain(57)
    assert ("signature", 57, 57) in check(log, tmp_path)["found"]


def test_key_that_was_never_created(log, tmp_path):
    log.records[57]["key"] = {"name": "ghost", "version": 1}
    log.rechain(57)
    assert check(log, tmp_path)["found"] == [("invalid", 57, 57)]


def test_environment_fits_the_mode(log, tmp_path):
    log.records[57]["detail"]["environment"] = "production"
    log.rechain(57)
    assert ("invalid", 57, 57) in check(log, tmp_path)["found"]


def test_ssh_signature_of_a_stranger(log, tmp_path):
    log.switch("ci-spiffe", "disable", "x", key="stranger")
    report = check(log, tmp_path)
    assert report["found"] == [("invalid", 60, 60)] and "does not belong" in report["findings"][0]["reason"]


def test_ssh_signature_of_another_namespace_or_request(log, tmp_path):
    log.switch("ci-spiffe", "disable", "x", namespace="file")
    log.switch("ci-spiffe", "enable", "x", sign_path="/v1/identities/other/enable")
    assert check(log, tmp_path)["found"] == [("signature", 60, 61)]


def test_ssh_signature_of_a_disabled_person(log, tmp_path):
    log.switch(log.ADMIN["name"], "disable", "left")
    log.switch("ci-spiffe", "disable", "x")
    report = check(log, tmp_path)
    assert report["found"] == [("invalid", 60, 60), ("invalid", 61, 61)] and "disabled" in report["findings"][1]["reason"]


def test_ssh_signature_of_no_person(log, tmp_path):
    log.switch("ci-spiffe", "disable", "x")
    log.records[60]["actor"] = log.ci()
    log.rechain(60)
    assert set(check(log, tmp_path)["found"]) == {("invalid", 60, 60)}


def test_replayed_nonce(log, tmp_path):
    log.switch("ci-spiffe", "disable", "x", nonce="7" * 32)
    log.switch("ci-spiffe", "enable", "x", nonce="7" * 32)
    report = check(log, tmp_path)
    assert report["found"] == [("invalid", 61, 61)] and "nonce" in report["findings"][0]["reason"]


# What a signed body asks for


def test_disable_of_another_identity(log, tmp_path):
    log.switch("ci-spiffe", "disable", "x")
    log.records[60]["detail"]["name"] = "ci-issued"
    log.rechain(60)
    assert ("invalid", 60, 60) in check(log, tmp_path)["found"]


@pytest.mark.parametrize("change", [
    lambda r: r.update(reason="other"), lambda r: r["request"].pop("body_b64"), lambda r: r.update(body_sha256="00" * 32),
    lambda r: r["request"].update(body_b64=auditlog.b64(b'{"reason":"y"}'))])
def test_body_is_the_signed_one(log, tmp_path, change):
    log.switch("ci-spiffe", "disable", "x")
    change(log.records[60])
    log.rechain(60)
    assert check(log, tmp_path)["found"] == [("invalid", 60, 60)]


def test_policy_other_than_signed(log, tmp_path):
    log.policy_apply(auditlog.RULES + b"# third\n")
    log.blobs["%s" % auditlog.sha256(b"evil")] = b"evil"
    log.records[60]["detail"]["sha256"] = auditlog.sha256(b"evil")
    log.rechain(60)
    assert check(log, tmp_path)["found"] == [("invalid", 60, 60)]


@pytest.mark.parametrize("old, new, words", [
    (b"keys: ['*'], apps", b"keys: [other], apps", "no rule of the policy"),
    (b"allow: [sign], keys", b"allow: [sign.digest], keys", "no rule of the policy"),
    (b"to: ['kind:ci']", b"to: ['kind:service']", "no rule of the policy"),
    (b"name: sign,", b"name: sign-other,", "ci/sign-other decides, not ci/sign"),
], ids=["key", "action", "subject", "rule"])
def test_a_decision_that_the_policy_does_not_explain(log, tmp_path, old, new, words):
    """The record says ci/sign; what the policy of that point says is decided anew."""
    rules = auditlog.RULES.replace(b"keys: ['*']", b"keys: [release]") if old.startswith(b"allow") else auditlog.RULES
    log.policy_apply(rules.replace(old, new))
    log.sign("9.0.0")
    report = check(log, tmp_path)
    assert [kind for kind, _, _ in report["found"]] == ["invalid"] and words in report["findings"][0]["reason"], report


def test_decided_under_another_policy(log, tmp_path):
    log.records[57]["policy"] = auditlog.sha256(auditlog.POLICY_1)
    log.rechain(57)
    assert check(log, tmp_path)["found"] == [("invalid", 57, 57)]


def test_key_other_than_signed(log, tmp_path):
    log.key_result(log.key_intent("third", "03" * 16, asked={"name": "fourth", "algorithm": "p256", "scheme": "statement"}), log.keys.spki["spare"])
    assert check(log, tmp_path)["found"] == [("invalid", 60, 60)]


def test_withdrawal_of_another_version(log, tmp_path):
    log.withdraw("2.0.1")
    log.sign("2.0.1", name="late.zip")
    log.sign("2.0.2")
    log.withdraw("2.0.1")
    assert check(log, tmp_path)["found"] == [("invalid", 61, 61), ("invalid", 63, 63)]


@pytest.mark.parametrize("change", [
    lambda i, k: i.update(kind="service"), lambda i, k: i.update(name="ci-other"), lambda i, k: i["ssh"].append(k.ssh["stranger"]),
    lambda i, k: i["credentials"][0].update(value="spiffe://evil/ci"),
    lambda i, k: i["credentials"][0].update(ca_spki_b64=auditlog.b64(k.spki["other"]), ca_spki_sha256=auditlog.sha256(k.spki["other"]))])
def test_identity_other_than_signed(log, tmp_path, change):
    log.identity_named("ci-new", "spiffe://example/new")
    change(log.records[60]["detail"]["identity"], log.keys)
    log.rechain(60)
    assert set(check(log, tmp_path)["found"]) == {("invalid", 60, 60)}


def test_identity_issued_with_another_certificate(original, tmp_path):
    log = original.copy()
    identity = log.records[2]["detail"]
    identity["certificate_b64"] = auditlog.b64(log.keys.ca_der)
    log.rechain(2)
    assert ("invalid", 2, 2) in check(log, tmp_path)["found"]


# Rules along the log


def test_version_goes_down(log, tmp_path):
    log.sign("1.9.9")
    report = check(log, tmp_path)
    assert report["exit"] == 1 and report["found"] == [("invalid", 60, 60)] and "goes down from 2.0.1 to 1.9.9" in report["findings"][0]["reason"]


def test_version_of_another_channel_may_be_lower(log, tmp_path):
    log.sign("1.9.9", channel="beta")
    log.sign("2.0.1", name="third.zip")
    assert check(log, tmp_path)["exit"] == 0


def test_name_with_two_digests(log, tmp_path):
    log.sign("2.0.1", content=b"other bytes")
    report = check(log, tmp_path)
    assert report["found"] == [("invalid", 60, 60)] and "two digests" in report["findings"][0]["reason"]


def test_versions_of_equal_precedence(log, tmp_path):
    log.sign("2.0.1+build", name="x.zip")
    assert check(log, tmp_path)["found"] == [("invalid", 60, 60)]


def test_genesis_only_once(log, tmp_path):
    log.genesis()
    assert check(log, tmp_path)["found"] == [("invalid", 60, 60)]


def test_log_without_genesis(keys, tmp_path):
    log = auditlog.Log(keys)
    log.start()
    assert check(log, tmp_path)["found"] == [("invalid", 0, 0)]


def test_intents_and_results(log, tmp_path):
    open_intent = log.key_intent("third", "03" * 16)
    report = check(log, tmp_path)
    assert report["exit"] == 0 and any("record 60" in n for n in report["notes"])
    log.key_error(open_intent)
    log.key_result(open_intent, log.keys.spki["spare"])
    log.key_error(dict(open_intent, seq=3))
    assert check(log, tmp_path / "b")["found"] == [("invalid", 62, 62), ("invalid", 63, 63)]


def test_key_id_twice(log, tmp_path):
    log.key_result(log.key_intent("third", "01" * 16), log.keys.spki["spare"])
    assert check(log, tmp_path)["found"] == [("invalid", 60, 60)]


def test_damage_hides_nothing_else(log, tmp_path):
    """A forged signature behind a hole in the chain is found as well; what rests on the hole is counted, not blamed."""
    log.sign("3.0.0", key="other")
    del log.lines[5:7]
    report = check(log, tmp_path)
    assert report["found"] == [("missing", 5, 6)] and any("could not be judged" in n for n in report["notes"])
    log2 = log.copy()
    log2.lines[20:22] = []
    assert ("missing", 5, 6) in check(log2, tmp_path / "b")["found"]


def test_forgery_behind_a_hole(log, tmp_path):
    log.sign("3.0.0", key="other")
    del log.lines[40:42]
    assert check(log, tmp_path)["found"] == [("missing", 40, 41), ("signature", 60, 60)]


# Command line


@pytest.mark.parametrize("argv", [
    [], ["frobnicate"], ["verify"], ["verify", "a", "b"], ["verify", "a", "--head", "7"], ["verify", "a", "--head", "7:xyz"],
    ["verify", "a", "--output", "xml"], ["verify", "a", "--frob"], ["show"], ["show", "a", "--seq", "9-3"],
    ["show", "a", "--since", "yesterday"], ["show", "a", "--outcome", "denid"], ["show", "a", "--frob"], ["verify", "a", "--head"]])
def test_usage(argv):
    done = subprocess.run([TOOL, *argv], capture_output=True, text=True)
    assert done.returncode == 64 and done.stderr.startswith("kms-audit") and not done.stdout
    assert not argv or argv[-1] in done.stderr or done.stderr.startswith(f"kms-audit {argv[0]}: ")


@pytest.mark.parametrize("words", [["--help"], ["version"], ["verify", "DIR"], ["show", "DIR"], ["show", "--help"]])
def test_full_disk_on_standard_output(log, tmp_path, words):
    """What nobody could read was not checked and not shown."""
    log.write(tmp_path)
    with open("/dev/full", "w") as full:
        done = subprocess.run([TOOL, *(str(tmp_path) if w == "DIR" else w for w in words)], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2 and "standard output cannot be written" in done.stderr


@pytest.mark.parametrize("argv", [["--help"], ["help"], ["verify", "--help"], ["show", "--help"], ["version"]])
def test_help(argv):
    done = subprocess.run([TOOL, *argv], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout


def show(folder, *options):
    return subprocess.run([TOOL, "show", str(folder), *options], capture_output=True, timeout=60)


def test_show(log, tmp_path):
    log.write(tmp_path, split=30)
    lines = show(tmp_path).stdout.decode().splitlines()
    assert len(lines) == 60 and [int(line.split()[0]) for line in lines] == list(range(60))
    assert "git:main \\u{202e}\u00e9" in lines[9] and "\u202e" not in "".join(lines)
    assert show(tmp_path, "--raw").stdout == b"".join(line + b"\n" for line in log.lines)


@pytest.mark.parametrize("options,expected", [
    (["--event", "sign.release", "--outcome", "ok"], [9, 10, 11, 14, 57]), (["--event", "daemon"], [1, 18, 59]), (["--key", "second"], [7, 8]),
    (["--actor", "ci-issued", "--version", "1.1.0"], [11, 16]), (["--seq", "3-5"], [3, 4, 5]), (["--seq", "58-"], [58, 59]),
    (["--seq", "-1"], [0, 1]),
    (["--seq", "7"], [7]), (["--app", "Shop", "--channel", "beta"], []), (["--since", "2026-03-03T08:00:59Z"], [58, 59]),
    (["--until", "2026-03-02"], []),
    (["--until", "2026-03-03", "--seq", "0-1"], [0, 1])])
def test_show_filters(log, tmp_path, options, expected):
    log.write(tmp_path)
    done = show(tmp_path, *options)
    assert done.returncode == 0 and [int(line.split()[0]) for line in done.stdout.decode().splitlines()] == expected


def test_a_misspelled_event_is_not_silence(log, tmp_path):
    log.write(tmp_path)
    done = show(tmp_path, "--event", "sign.relaese")
    assert done.returncode == 0 and not done.stdout and b"no event or area sign.relaese" in done.stderr
    for event in ("sign", "sign.digest", "key.erase"):
        assert not show(tmp_path, "--event", event).stderr


def test_show_goes_on_after_damage(log, tmp_path):
    log.lines[10] = b"garbage"
    log.write(tmp_path)
    done = show(tmp_path)
    assert done.returncode == 2 and len(done.stdout.splitlines()) == 59 and b"1 lines are no records" in done.stderr


def test_a_copy_without_the_lock_is_enough(log, tmp_path):
    log.write(tmp_path / "a")
    shutil.copytree(tmp_path / "a" / "audit", tmp_path / "b")
    assert verify(tmp_path / "b")["exit"] == 0
