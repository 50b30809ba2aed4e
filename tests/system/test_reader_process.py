"""kmsd-reader without a core: frames over our end of its socket pair, and a log and an index to which anything may happen."""
import json
import os
import random
import re
import shutil
import signal
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import lane
from kms import BIN, BUILD, Instance, run, sha256
from readerprocess import Reader

RECORDS, BLOCK = 40000, 16384
ASKED = 1500  # questions at once, within what the socket holds


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A directory with settings and a log, and what the log has: lines, and records by number."""
    kms = Instance(tmp_path_factory.mktemp("process") / "dir")
    kms.start()
    kms.stop()
    run(BUILD / "tests/longlog/longlog", kms.dir / "audit", RECORDS - len(kms.lines()), 20, timeout=120)
    lines = kms.lines()
    assert len(lines) == RECORDS
    return SimpleNamespace(dir=kms.dir, lines=lines, hashes=[(n, sha256(line)) for n, line in enumerate(lines)],
                           denied=[n for n, line in enumerate(lines) if b'"outcome":"denied"' in line])


@pytest.fixture
def own(log, tmp_path):
    """A copy for one test that damages it."""
    shutil.copytree(log.dir, tmp_path / "dir", symlinks=True)
    settings = tmp_path / "dir" / "kmsd.yaml"
    settings.write_text(settings.read_text().replace(str(log.dir), str(tmp_path / "dir")))
    return SimpleNamespace(**{**vars(log), "dir": tmp_path / "dir", "index": tmp_path / "dir/index/state.db",
                              "segment": sorted((tmp_path / "dir/audit").glob("*.jsonl"))[-1]})


def test_nothing_behind_the_head(own):
    """Records that are in the file, and not yet said to be on disk, are in no answer."""
    with Reader(own.dir) as reader:
        for head in (1, 100, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 7):
            reader.head(head)
            page = json.loads(reader.search(head, "order=desc&limit=3")["BODY"])
            assert page["indexed"] == head and [item["record"]["seq"] for item in page["items"]] == list(range(head - 1, max(head - 4, -1), -1))


def test_pages_while_the_log_grows(own):
    with Reader(own.dir) as reader:
        reader.head(1)
        assert reader.pages(BLOCK - 3, "limit=1000", step=777, end=RECORDS) == own.hashes
        assert reader.pages(RECORDS, "limit=1000&outcome=denied") == [own.hashes[n] for n in own.denied]
        assert reader.pages(RECORDS, "limit=900&outcome=denied&order=desc") == [own.hashes[n] for n in own.denied][::-1]


def asked_at_once(reader, heads, query="since=2020-01-01T00:00:00Z&limit=2"):
    """(times the reader waited, seconds of its processor time, seconds, the longest of them without an answer) for questions that were there before it could take the first."""
    def state():
        status = Path(f"/proc/{reader.process.pid}/status").read_text()
        return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.M).group(1)), int(Path(f"/proc/{reader.process.pid}/schedstat").read_text().split()[0]) / 1e9

    asked = list(enumerate(heads, reader.next_id + 1))
    reader.next_id += len(asked)
    reader.process.send_signal(signal.SIGSTOP)
    reader.ours.sendall(b"".join(lane.frame("SEARCH", number, {"QUERY": query, "HEAD": head}) for number, head in asked))
    (waited, used), began = state(), time.monotonic()
    reader.process.send_signal(signal.SIGCONT)
    at = [began]
    for number, _ in asked:
        assert reader.answer(number)["type"] == "FOUND"
        at.append(time.monotonic())
    (waited_then, used_then), took = state(), time.monotonic() - began
    return waited_then - waited, used_then - used, took, max(after - before for before, after in zip(at, at[1:]))


def test_rests_while_the_log_grows(own):
    """Each answer is work for those who sign too, whose records make the log grow. What waits is answered then, whether or not another word comes."""
    with Reader(own.dir) as reader:
        reader.head(RECORDS - ASKED - 1)
        time.sleep(1.2)
        waited, used, *_ = asked_at_once(reader, [RECORDS - ASKED - 1] * ASKED)
        assert waited < ASKED / 4 and used > 0.04, (waited, used)  # more than what may be saved up
        waited, used, took, gap = asked_at_once(reader, range(RECORDS - ASKED, RECORDS))
        assert 8 * (used - 0.02) < took and gap < 0.9, (used, took, gap)
        waited, used, *_ = asked_at_once(reader, [RECORDS], "limit=1000")
        assert waited > max(5, used / 0.0004), (waited, used)  # short turns, within an answer too
        reader.head(RECORDS, 5)
        time.sleep(1.2)
        waited, used, *_ = asked_at_once(reader, [RECORDS] * ASKED)
        assert waited < ASKED / 4 and used > 0.04, (waited, used)


def test_killed_at_any_point(own):
    """What is found afterwards is what the log has; nothing that was complete is made again."""
    seed, head = random.Random(5), 0
    for _ in range(14):
        reader = Reader(own.dir)
        head = min(head + seed.randrange(6000), RECORDS)
        reader.ours.sendall(lane.frame("HEAD", 0, {"HEAD": max(head, 1)}))
        time.sleep(seed.random() * 0.15)
        reader.kill()
        reader.ours.close()
        reader.stderr.close()
    with Reader(own.dir) as reader:
        reader.head(RECORDS)
        assert reader.pages(RECORDS, "limit=1000&outcome=denied") == [own.hashes[n] for n in own.denied]
        reader.kill()
    with Reader(own.dir) as reader:
        reader.head(RECORDS)
        reader.stderr.seek(0)
        assert "made from the log" not in reader.stderr.read()
        assert reader.pages(RECORDS, "limit=1000&outcome=denied") == [own.hashes[n] for n in own.denied]


def test_a_log_that_became_shorter(own):
    """Searches are refused, single records are not; when the rest is there again, it goes on."""
    whole, last = own.segment.read_bytes(), len(own.lines[-1]) + 1
    with Reader(own.dir) as reader:
        reader.head(RECORDS - 1)
        own.segment.write_bytes(whole[:-last - 10])
        reader.head(RECORDS, until=("failed",))
        refused = reader.search(RECORDS, "limit=1")
        assert refused["type"] == "MISSED" and b"cannot be used" in refused["REASON"] or b"fewer records" in refused["REASON"], refused
        assert reader.answer(reader.send("RECORD", SEQ=5, HEAD=RECORDS))["BODY"] == own.lines[5]
        assert reader.answer(reader.send("RECORD", SEQ=RECORDS - 1, HEAD=RECORDS))["type"] == "MISSED"
        own.segment.write_bytes(whole)
        reader.head(RECORDS)
        assert reader.pages(RECORDS, "limit=1000&outcome=denied") == [own.hashes[n] for n in own.denied]


@pytest.mark.parametrize("seq", [7, BLOCK - 1, RECORDS - 2])
def test_a_line_of_the_log_altered(own, seq):
    """In the file or among those in memory: it is in no page, what comes before and behind it is, and who asks for it hears which one it is."""
    with Reader(own.dir) as reader:
        reader.head(RECORDS)
        text = own.segment.read_bytes()
        own.segment.write_bytes(text.replace(own.lines[seq], own.lines[seq].replace(b'"v":1}', b'"v":2}')))
        for _ in range(3):
            refused = reader.search(RECORDS, f"after={seq - 1}&limit=1")
            assert refused["type"] == "MISSED" and f"record {seq} of the log".encode() in refused["REASON"], refused
        before = json.loads(reader.search(RECORDS, f"after={max(seq - 5, 0)}&limit=1000")["BODY"])
        assert [item["record"]["seq"] for item in before["items"]] == list(range(max(seq - 5, 0) + 1, seq)) and before["next"] == seq - 1
        behind = json.loads(reader.search(RECORDS, f"after={seq}&limit=10")["BODY"])
        assert [(item["record"]["seq"], item["hash"]) for item in behind["items"]] == own.hashes[seq + 1:seq + 11]
        own.segment.write_bytes(text)
        assert reader.pages(RECORDS, "limit=1000&outcome=denied") == [own.hashes[n] for n in own.denied]
        reader.stderr.seek(0)
        said = reader.stderr.read()
        assert "rebuilt" not in said and said.count(f"record {seq} of the log") == 3


def fifo(path):
    os.mkfifo(path)


def directory(path):
    path.mkdir()


def link(path):
    (path.parent.parent / "target").write_text("somebody's")
    path.symlink_to("../target")


def stray_wal(path):
    path.with_name(path.name + "-wal").write_bytes(random.Random(2).randbytes(40000))


def stray_journal(path):
    path.with_name(path.name + "-journal").write_bytes(bytes.fromhex("d9d505f920a163d7") + random.Random(2).randbytes(40000))


@pytest.mark.parametrize("what", [fifo, directory, link, stray_wal, stray_journal], ids=lambda f: f.__name__)
def test_something_else_in_its_place(own, what):
    """The reader says that it failed, or makes its index; it neither waits for ever nor touches what a link leads to."""
    shutil.rmtree(own.index.parent, ignore_errors=True)
    own.index.parent.mkdir()
    what(own.index)
    with Reader(own.dir) as reader:
        reader.head(RECORDS, until=("following", "failed"))
        page = reader.search(RECORDS, "limit=1")
        assert page["type"] == ("FOUND" if reader.state[0] == "following" else "MISSED")
        assert reader.answer(reader.send("RECORD", SEQ=5, HEAD=RECORDS))["BODY"] == own.lines[5]
        assert what not in (stray_wal, stray_journal) or reader.state[0] == "following"
    assert what is not link or (own.index.parent.parent / "target").read_text() == "somebody's"


def test_the_index_of_another_log(own, tmp_path):
    """Whole, and as long: what it says stands where other records stand."""
    other = Instance(tmp_path / "other")
    other.start()
    other.stop()
    run(BUILD / "tests/longlog/longlog", other.dir / "audit", RECORDS, 20, timeout=120)
    run(BIN / "kmsd", "rebuild-index", "--dir", other.dir, timeout=120)
    own.index.parent.mkdir(exist_ok=True)
    shutil.copy(other.dir / "index/state.db", own.index)
    with Reader(own.dir) as reader:
        reader.head(RECORDS)
        assert reader.pages(RECORDS, "limit=1000&outcome=denied") == [own.hashes[n] for n in own.denied]
        reader.stderr.seek(0)
        assert "not of this log" in reader.stderr.read()


@pytest.mark.parametrize("kind,fields", [("PROBE", {}), ("SEARCH", {"QUERY": "colour=red", "HEAD": 1}), ("SEARCH", {"QUERY": "limit=0", "HEAD": 1}),
                                         ("SEARCH", {"QUERY": "a" * 3000, "HEAD": 1}), ("BLOB", {"HASH": "../lock"})])
def test_frames_that_no_core_sends(own, kind, fields):
    with Reader(own.dir) as reader:
        assert reader.answer(reader.send(kind, **fields)) is None
        assert reader.process.wait(10) == 1


def test_ends_with_its_core(own):
    reader = Reader(own.dir)
    reader.ours.sendall(lane.frame("HEAD", 0, {"HEAD": RECORDS}))
    reader.ours.shutdown(socket.SHUT_RDWR)
    assert reader.process.wait(10) == 0
    reader.ours.close()
    reader.stderr.close()
