"""The log of a real instance, changed behind its back: kms-audit and the independent checker both say so, and name the place."""
import json
import shutil
import sys

import pytest

from kms import BIN, ROOT, Instance, canonical, run, sha256

CHECKER = ROOT / "tests" / "independent_check.py"


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """(directory of a stopped instance, its lines): signatures, refusals, changes by a person, two starts."""
    kms = Instance(tmp_path_factory.mktemp("tamper") / "dir")
    with kms:
        for number in range(12):
            assert kms.sign(f"1.{number}.0").status == 200
        assert kms.sign("0.1.0").status == 409
        assert kms.signed("POST", "/v1/keys", {"name": "second", "algorithm": "p256", "scheme": "statement"}).status == 201
        kms.new_identity("somebody")
    with kms:
        for number in range(12, 20):
            assert kms.sign(f"1.{number}.0").status == 200
    lines = kms.lines()
    assert len(lines) > 30
    return kms.dir, lines


@pytest.fixture
def copy(log, tmp_path):
    """A copy to spoil; write(lines) replaces its only segment."""
    shutil.copytree(log[0] / "audit", tmp_path / "audit")
    segment, = (tmp_path / "audit").glob("*.jsonl")

    def write(lines):
        segment.write_bytes(b"".join(line + b"\n" for line in lines))
        return tmp_path
    return write


def head(lines, seq=-1):
    seq %= len(lines)
    return f"{seq}:{sha256(lines[seq])}"


def audit(folder, *heads):
    options = [word for value in heads for word in ("--head", value)]
    done = run(BIN / "kms-audit", "verify", folder, "--output", "json", *options, check=False)
    report = json.loads(done.stdout)
    report["ranges"] = [finding["records"] for finding in report["findings"] if "records" in finding]
    text = run(BIN / "kms-audit", "verify", folder, "--output", "table", *options, check=False)
    assert text.returncode == done.returncode
    return done.returncode, report, text.stdout.decode()


def independent(folder, *heads):
    done = run(sys.executable, CHECKER, folder, *heads, check=False)
    return done.returncode, done.stdout.decode()


def spoiled(folder, first, last, *heads):
    """Both checkers refuse; a finding of kms-audit touches first..last, and it says so in words."""
    code, report, text = audit(folder, *heads)
    assert code == 1 and report["findings"], text
    assert any(low <= last and high >= first for low, high in report["ranges"]), (first, last, report["findings"])
    assert any(str(number) in text for number in range(first, last + 1)), text
    code, said = independent(folder, *heads)
    assert code == 1 and "records " in said, said
    return report


def rolled_back(folder, last, held):
    """The log ends at record last, before the head: both checkers refuse and name the records between."""
    seq = held.split(":")[0]
    code, report, text = audit(folder, held)
    assert code == 1 and [finding["kind"] for finding in report["findings"]] == ["head"]
    assert f"record {last}" in text and f"record {seq}" in text, text
    code, said = independent(folder, held)
    assert code == 1 and f"records {seq}-{seq}" in said, said


def of(lines, **members):
    return [number for number, line in enumerate(lines) if members.items() <= json.loads(line).items()]


def test_the_untouched_log_is_sound(log):
    folder, lines = log
    heads = [head(lines), head(lines, 7), head(lines, 0)]
    code, report, text = audit(folder, *heads)
    assert code == 0 and report["verdict"] == "sound" and report["records"] == len(lines), text
    assert report["signatures"] == 20
    assert independent(folder, *heads)[0] == 0


@pytest.mark.parametrize("what", ["signature", "digest", "policy", "actor", "time"])
def test_an_edited_record(log, copy, what):
    lines = list(log[1])
    place = of(lines, event="sign.release", outcome="ok")[5]
    record = json.loads(lines[place])
    if what == "signature":
        record["signature"] = json.loads(lines[place - 1])["signature"]
    elif what == "digest":
        record["digest"]["hex"] = "0" * 64
    elif what == "policy":
        record["policy"] = "1" * 64
    elif what == "actor":
        record["actor"]["name"] = "somebody"
    else:
        record["time"] = record["time"][:-2] + ("1Z" if record["time"][-2] != "1" else "2Z")
    lines[place] = canonical(record)
    spoiled(copy(lines), place, place + 1)


@pytest.mark.parametrize("place", [0, 9, -2])
def test_one_byte(log, copy, place):
    lines = list(log[1])
    place %= len(lines)
    at = lines[place].index(b'"boot":"') + 8
    byte = b"0" if lines[place][at:at + 1] != b"0" else b"1"
    lines[place] = lines[place][:at] + byte + lines[place][at + 1:]
    spoiled(copy(lines), place, place + 1)


def test_the_last_record_edited_needs_a_head(log, copy):
    """Nothing stands behind the last record; a head that is held outside does."""
    lines = list(log[1])
    held = head(lines)
    record = json.loads(lines[-1])
    assert record["event"] == "daemon.stop"
    record["reason"] = "something else"
    lines[-1] = canonical(record)
    spoiled(copy(lines), len(lines) - 1, len(lines) - 1, held)


@pytest.mark.parametrize("count", [1, 3])
def test_deleted(log, copy, count):
    lines = list(log[1])
    del lines[10:10 + count]
    spoiled(copy(lines), 10, 10 + count - 1)


def test_swapped(log, copy):
    lines = list(log[1])
    lines[12], lines[13] = lines[13], lines[12]
    spoiled(copy(lines), 12, 13)


def test_swapped_and_renumbered(log, copy):
    """Numbers and predecessors repaired: the chain holds again, but not the statements' own heads, signatures and order."""
    lines = list(log[1])
    first, second = of(lines, event="sign.release", outcome="ok")[3:5]
    held = head(lines)
    lines[first], lines[second] = lines[second], lines[first]
    prev = sha256(lines[first - 1])
    for place in range(first, len(lines)):
        record = json.loads(lines[place])
        record["seq"], record["prev"] = place, prev
        lines[place] = canonical(record)
        prev = sha256(lines[place])
    folder = copy(lines)
    code, report, _ = audit(folder)
    assert code == 1 and report["ranges"]
    assert independent(folder)[0] == 0
    spoiled(folder, first, len(lines) - 1, held)


@pytest.mark.parametrize("kind", ["copied", "invented"])
def test_inserted(log, copy, kind):
    lines = list(log[1])
    record = json.loads(lines[14])
    if kind == "invented":
        record["seq"], record["prev"] = 15, sha256(lines[14])
    lines.insert(15, canonical(record))
    spoiled(copy(lines), 14, 15)


def test_truncated(log, copy):
    """A log cut at a record boundary is a sound log, except for who holds a head."""
    lines = log[1]
    folder = copy(lines[:-4])
    assert audit(folder)[0] == 0 and independent(folder)[0] == 0
    rolled_back(folder, len(lines) - 5, head(lines))
    rolled_back(folder, len(lines) - 5, head(lines, -4))
    assert audit(folder, head(lines, -5))[0] == 0 and independent(folder, head(lines, -5))[0] == 0


def test_truncated_in_a_record(log, copy):
    """What a crash leaves is a note; with a head of the lost record it is a loss."""
    lines = log[1]
    folder = copy(lines[:-3])
    segment, = (folder / "audit").glob("*.jsonl")
    with segment.open("ab") as f:
        f.write(lines[-3][:50])
    code, report, _ = audit(folder)
    assert code == 0 and any("unfinished" in note for note in report["notes"]), report
    assert independent(folder)[0] == 0
    rolled_back(folder, len(lines) - 4, head(lines))


def test_the_beginning_is_gone(log, copy):
    lines = log[1]
    spoiled(copy(lines[5:]), 0, 4)


def test_everything_rewritten_needs_a_head(log, copy):
    """A whole other chain: only a head from outside shows it."""
    lines, held = list(log[1]), head(log[1])
    prev = "0" * 64
    for place, line in enumerate(lines):
        record = json.loads(line)
        record["prev"], record["boot"] = prev, "ab" * 16
        lines[place] = canonical(record)
        prev = sha256(lines[place])
    folder = copy(lines)
    assert independent(folder)[0] == 0
    spoiled(folder, len(lines) - 1, len(lines) - 1, held)


def test_a_body_is_changed_or_gone(log, copy):
    folder = copy(list(log[1]))
    blob = next((folder / "audit" / "blobs").iterdir())
    blob.write_bytes(blob.read_bytes().replace(b"example", b"exampel"))
    assert audit(folder)[0] == 1
    blob.unlink()
    assert audit(folder)[0] == 2
