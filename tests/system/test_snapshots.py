"""State snapshots: when one is written, that a start uses it, and that nobody can change a decision through one."""
import json
import shutil

import pytest

from kms import BIN, BUILD, Instance, run, sha256

LONGLOG = BUILD / "tests" / "longlog" / "longlog"
EVERY = 1000


def set_every(kms, more=""):
    file = kms.dir / "kmsd.yaml"
    text = file.read_text()
    assert "\naudit:\n" in text
    file.write_text(text.replace("\naudit:\n", f"\naudit:\n  snapshot_records: {EVERY}\n{more}"))


def lengthen(kms, records):
    run(LONGLOG, kms.dir / "audit", records)


def said(kms, event):
    """Lines of the daemon's own log with that event, since the newest start."""
    lines = (kms.dir / "kmsd.log").read_text().splitlines()
    return [line for line in lines if " program=kmsd-core " in line and f" event={event} " in line]


def started(kms):
    """(from, seq) of the newest start."""
    words = dict(word.split("=", 1) for word in said(kms, "start")[-1].split() if "=" in word)
    return words["from"], int(words["seq"])


def files(kms):
    return sorted(path.name for path in (kms.dir / "snapshots").iterdir())


def snapshot_records(kms):
    return kms.records(event="log.snapshot", outcome="ok")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A stopped instance with a snapshot behind 1,500 records, a disabled identity, and an answer stored under a key."""
    kms = Instance(tmp_path_factory.mktemp("snapshots") / "dir")
    with kms:
        kms.new_identity("ci-gone")
        assert kms.signed("POST", "/v1/identities/ci-gone/disable", {"reason": "test"}).status == 200
        first = kms.sign("2.0.0", headers={"Idempotency-Key": "one"})
        assert first.status == 200
    set_every(kms)
    lengthen(kms, 1500)
    with kms:
        assert started(kms) == ("record", 0)
    assert len(snapshot_records(kms)) == 1
    return kms.dir, first.body


@pytest.fixture
def stopped(made, tmp_path):
    shutil.copytree(made[0], tmp_path / "dir")
    for conf in (tmp_path / "dir" / "tokens").glob("*/softhsm2.conf"):
        conf.write_text(conf.read_text().replace(str(made[0]), str(tmp_path / "dir")))
    (tmp_path / "dir" / "kmsd.log").write_text("")
    kms = Instance(tmp_path / "dir")
    kms.first_answer = made[1]
    yield kms
    kms.stop(check=False)


def gone(kms):
    """The disabled identity's client, whose files another instance's directory made."""
    key, cert = kms.dir / "ci-gone.test.key", kms.dir / "ci-gone.test.pem"
    return type(kms.ci)(cert, key)


def same_decisions(kms):
    """What the log says holds, wherever the state came from."""
    assert kms.sign("2.0.0", headers={"Idempotency-Key": "one"}).body == kms.first_answer
    assert kms.sign("2.0.0", b"other", headers={"Idempotency-Key": "one"}).status == 409
    assert kms.sign("1.9.0").status == 409
    assert kms.sign("2.0.0", b"other").status == 409
    refused = kms.sign("3.0.0", cert=gone(kms))
    assert refused.status in (401, 403) and not kms.records(event="sign.release", outcome="ok", req=refused.request_id)
    assert kms.sign("2.1.0").status == 200
    kms.check_chain()


def tampered(kms, old, new):
    file = kms.dir / "snapshots" / snapshot_records(kms)[-1]["detail"]["file"]
    data = file.read_bytes()
    assert data.count(old) >= 1
    file.write_bytes(data.replace(old, new, 1))


def fell_back(kms, what):
    assert started(kms) == ("record", 0)
    warning, = said(kms, "snapshot")
    assert "level=warning" in warning and what in warning and "first record" in warning


def test_the_record_names_the_file(stopped):
    detail = snapshot_records(stopped)[0]["detail"]
    data = (stopped.dir / "snapshots" / detail["file"]).read_bytes()
    assert files(stopped) == [detail["file"]] == ["%020d.jsonl" % detail["seq"]]
    assert (detail["sha256"], detail["bytes"]) == (sha256(data), len(data))
    lines = stopped.lines()
    head, *_, end = map(json.loads, data.splitlines())
    assert head["kind"] == "snapshot" and head["seq"] == detail["seq"] and head["hash"] == sha256(lines[detail["seq"] - 1])
    assert end == {"kind": "end", "lines": data.count(b"\n") - 1}
    assert json.loads(lines[-1])["event"] == "daemon.stop"


def test_a_start_uses_it(stopped):
    seq = snapshot_records(stopped)[0]["detail"]["seq"]
    with stopped:
        assert started(stopped) == ("snapshot", seq) and not said(stopped, "snapshot")
        same_decisions(stopped)
    # a few records are not worth another one
    assert len(snapshot_records(stopped)) == 1


def test_it_may_be_deleted(stopped):
    shutil.rmtree(stopped.dir / "snapshots")
    with stopped:
        fell_back(stopped, "cannot be used")
        same_decisions(stopped)
    assert len(snapshot_records(stopped)) == 2 and len(files(stopped)) == 1
    with stopped:
        assert started(stopped)[0] == "snapshot"


@pytest.mark.parametrize("old,new", [(b'"enabled":false', b'"enabled":true'), (b'"version":"2.0.0","withdrawn":false', b'"version":"1.0.0","withdrawn":false'),
                                     (b'"kind":"end"', b'"kind":"fin"'), (b"\n", b"\n\n")])
def test_an_edited_one_changes_no_decision(stopped, old, new):
    tampered(stopped, old, new)
    with stopped:
        fell_back(stopped, "was altered")
        same_decisions(stopped)


def test_a_record_outside_the_chain_names_nothing(stopped):
    """Whoever can append to the log names an edited snapshot: the line is no next record, so it is cut, and what it names is not used."""
    tampered(stopped, b'"enabled":false', b'"enabled":true')
    record = snapshot_records(stopped)[0]
    data = (stopped.dir / "snapshots" / record["detail"]["file"]).read_bytes()
    record["detail"].update(sha256=sha256(data), bytes=len(data))
    record["seq"] = len(stopped.lines())
    line = json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    segment = max((stopped.dir / "audit").glob("*.jsonl"))
    segment.write_bytes(segment.read_bytes() + line)
    with stopped:
        fell_back(stopped, "cannot be used")
        same_decisions(stopped)
        assert len(stopped.records(event="log.recovered")) == 1


def test_a_rewritten_record_does_not_chain(stopped):
    """The record itself is edited to name another file: the record behind it does not follow it any more."""
    tampered(stopped, b'"enabled":false', b'"enabled":true')
    record = snapshot_records(stopped)[0]
    data = (stopped.dir / "snapshots" / record["detail"]["file"]).read_bytes()
    segment = max((stopped.dir / "audit").glob("*.jsonl"))
    text = segment.read_bytes()
    changed = text.replace(record["detail"]["sha256"].encode(), sha256(data).encode()).replace(
        b'"bytes":%d' % record["detail"]["bytes"], b'"bytes":%d' % len(data))
    assert changed != text
    segment.write_bytes(changed)
    done = run(BIN / "kmsd", "dev", "--dir", stopped.dir, "--listen", "127.0.0.1:0", "--detach", check=False, timeout=90)
    assert done.returncode and segment.read_bytes() == changed


def test_one_is_written_while_running_and_two_are_kept(stopped):
    with stopped:
        name = snapshot_records(stopped)[0]["detail"]["file"]
    lengthen(stopped, EVERY + 10)
    (stopped.dir / "snapshots" / "00000000000000000003.jsonl").write_text("an orphan\n")
    with stopped:
        second = stopped.wait(lambda: snapshot_records(stopped)[1:], what="a snapshot")[0]["detail"]["file"]
        assert started(stopped)[0] == "snapshot"
        assert stopped.sign("2.2.0").status == 200
    assert files(stopped) == [name, second]
    lengthen(stopped, EVERY + 10)
    with stopped:
        third = stopped.wait(lambda: snapshot_records(stopped)[2:], what="a snapshot")[0]["detail"]["file"]
    assert files(stopped) == [second, third]
    # the newest is gone: the one before it serves
    (stopped.dir / "snapshots" / third).unlink()
    with stopped:
        assert started(stopped) == ("snapshot", int(second[:20]))
        assert "an older one" in said(stopped, "snapshot")[-1]
        assert stopped.sign("2.3.0").status == 200
        stopped.check_chain()


def test_a_kill_leaves_nothing_in_the_way(stopped):
    with stopped:
        stopped.kill(stopped.child("kmsd-core"))
        stopped.wait(lambda: len(said(stopped, "start")) >= 2, what="a second start")
        stopped.wait(lambda: stopped.request("ci", "GET", "/v1/whoami").status == 200, what="service")
        assert started(stopped)[0] == "snapshot"


def test_a_directory_that_cannot_be_written(stopped):
    """A snapshot is never a reason not to serve."""
    file = stopped.dir / "kmsd.yaml"
    file.write_text(file.read_text().replace("  snapshot_records:", "  snapshots: env/none\n  snapshot_records:"))
    lengthen(stopped, EVERY)
    with stopped:
        stopped.wait(lambda: len(said(stopped, "snapshot")) >= 2, what="a warning")
        assert stopped.sign("2.2.0").status == 200
    assert len(snapshot_records(stopped)) == 1


def test_the_log_is_no_place_for_them(stopped):
    file = stopped.dir / "kmsd.yaml"
    file.write_text(file.read_text().replace("  snapshot_records:", "  snapshots: audit\n  snapshot_records:"))
    done = run(BIN / "kmsd", "dev", "--dir", stopped.dir, "--detach", check=False, timeout=90)
    assert done.returncode and "audit.snapshots" in (stopped.dir / "kmsd.log").read_text() + done.stderr.decode()


def test_check_says_what_there_is(stopped):
    def check():
        return run(BIN / "kmsd", "check", "--dir", stopped.dir, check=False).stdout.decode()
    name = snapshot_records(stopped)[0]["detail"]["file"]
    assert any(line.startswith("ok       snapshots") and name in line for line in check().splitlines())
    shutil.rmtree(stopped.dir / "snapshots")
    assert any(line.startswith("ok       snapshots") and "none" in line for line in check().splitlines())
    (stopped.dir / "snapshots").write_text("")
    assert any(line.startswith("problem  snapshots") for line in check().splitlines())


def test_a_whole_log_with_one_verifies(own_kms):
    """1,000 real records, so that the log can be judged from outside."""
    own_kms.stop()
    set_every(own_kms)
    own_kms.start()
    with own_kms.connect("ci") as connection:
        for number in range(EVERY):
            assert connection.request("POST", "/v1/sign", own_kms.release(f"1.{number}.0")).status == 200
    own_kms.wait(lambda: snapshot_records(own_kms), what="a snapshot")
    own_kms.stop()
    run(BIN / "kms-audit", "verify", own_kms.dir)
    own_kms.start()
    assert started(own_kms)[0] == "snapshot"
    assert own_kms.sign(f"1.{EVERY - 1}.0").status == 200 and own_kms.sign("1.0.0").status == 409
