"""Searching the audit log: every answer against a scan of the log itself, and whatever may become of the index and of the process that keeps it."""
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from apitest import new_source
from kms import BIN, BUILD, Instance, run, sha256

RECORDS = "/v1/audit/records"
FIELDS = {"event": ("event",), "outcome": ("outcome",), "actor": ("actor", "name"), "key": ("key", "name"), "app": ("artifact", "app"),
          "channel": ("artifact", "channel"), "version": ("artifact", "version"), "digest": ("digest", "hex"), "request": ("req",)}


def member(record, path):
    for name in path:
        record = record.get(name, {}) if isinstance(record, dict) else {}
    return record if isinstance(record, str) else ""


def fits(record, filters):
    return all(member(record, FIELDS[name]) == value for name, value in filters.items() if name in FIELDS) and \
        record["time"] >= filters.get("since", "") and ("until" not in filters or record["time"] < filters["until"])


def ask(kms, cert=None, **filters):
    query = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in filters.items())
    return kms.request("admin", "GET", f"{RECORDS}?{query}" if query else RECORDS, cert=cert, source=new_source())


def search(kms, **filters):
    """All pages of a search: [(seq, hash)]."""
    found, after = [], None
    while True:
        answer = ask(kms, **filters, **({} if after is None else {"after": after}))
        assert answer.status == 200, answer
        page = answer.json
        found += [(item["record"]["seq"], item["hash"]) for item in page["items"]]
        if page["next"] is None:
            return found
        assert page["next"] != after
        after = page["next"]


def scan(kms, filters, upto=None):
    """The same, read from the log."""
    lines = kms.lines()[:upto]
    return [(n, sha256(line)) for n, line in enumerate(lines) if fits(json.loads(line), filters)]


def state(kms):
    return kms.request("admin", "GET", "/v1/status").json["reader"]


def following(kms, seconds=60):
    kms.wait(lambda: state(kms)["state"] == "following", seconds, "the reader following the log")


def agrees(kms, **filters):
    """What the service finds is what the log has. Its last records may come while we look."""
    found = search(kms, **filters)
    expected = scan(kms, filters)
    assert found == expected[:len(found)] and len(expected) - len(found) <= 3, (filters, found, expected)
    return found


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """An instance whose log has records of many kinds."""
    with Instance(tmp_path_factory.mktemp("reader") / "dir") as kms:
        kms.sign("1.0.0", source="127.0.0.2")
        for n in range(6):
            for channel in ("production", "beta"):
                assert kms.sign(f"1.{n}.0", data=b"%d" % n, app=f"com.example.r{n % 2}", channel=channel, name="bundle.zip").status == 200
        for n in range(3):
            assert kms.sign("0.1.0", app="com.example.r0").status == 409
            assert kms.sign("1.0.0", app="org.other.app", source=f"127.0.0.{n + 3}").status == 403
            assert kms.request("admin", "GET", "/v1/keys/none").status == 404
        kms.new_identity("reader-ci")
        kms.signed("POST", "/v1/keys", {"name": "second", "algorithm": "p256", "scheme": "statement"})
        following(kms)
        yield kms


# Answers

def test_every_filter(busy):
    records = [json.loads(line) for line in busy.lines()]
    for name, path in FIELDS.items():
        values = sorted({member(record, path) for record in records} - {""})
        assert values, name
        for value in values[:12]:
            assert agrees(busy, **{name: value}), (name, value)


def test_filters_together(busy):
    seed = random.Random(7)
    records = [json.loads(line) for line in busy.lines()]
    hits = 0
    for _ in range(60):
        record = seed.choice(records)
        names = seed.sample(sorted(FIELDS), seed.randint(2, 5))
        filters = {name: member(seed.choice(records) if seed.random() < 0.2 else record, FIELDS[name]) for name in names}
        filters = {name: value for name, value in filters.items() if value}
        if seed.random() < 0.5:
            filters |= {"since": record["time"], "until": seed.choice(records)["time"]}
        hits += len(agrees(busy, **filters))
    assert hits > 100


def test_time(busy):
    records = [json.loads(line) for line in busy.lines()]
    middle = records[len(records) // 2]["time"]
    before, behind = agrees(busy, until=middle), agrees(busy, since=middle)
    assert before and behind and before[-1][0] < behind[0][0]
    assert search(busy, since="2999-01-01") == [] == search(busy, until="1999-12-31T23:59:59.5Z")


@pytest.mark.parametrize("limit", [1, 7, 1000])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages(busy, limit, order):
    filters = {"event": "sign.release", "outcome": "ok"}
    expected = scan(busy, filters)
    assert search(busy, **filters, limit=limit, order=order) == (expected if order == "asc" else expected[::-1])


def test_raw_lines_and_links(busy):
    lines, path, got = busy.lines(), f"{RECORDS}?format=jsonl&limit=5&event=sign.release", b""
    while path:
        answer = busy.request("admin", "GET", path)
        assert answer.status == 200 and answer.type == "application/jsonl"
        got += answer.body
        link = answer.headers.get("link", "")
        assert not link or link.endswith('>; rel="next"')
        path = link[1:-len('>; rel="next"')]
    assert got == b"".join(line + b"\n" for line in lines if json.loads(line)["event"] == "sign.release")


def test_one_record_byte_for_byte(busy):
    for seq, line in enumerate(busy.lines()):
        answer = busy.request("admin", "GET", f"{RECORDS}/{seq}")
        assert answer.status == 200 and answer.type == "application/json" and answer.body == line
    assert busy.request("admin", "GET", f"{RECORDS}/{len(busy.lines()) + 1000}").status == 404


def test_bodies(busy):
    name = busy.records(event="log.genesis")[0]["policy"]
    answer = busy.request("admin", "GET", f"/v1/audit/blobs/{name}")
    assert answer.status == 200 and sha256(answer.body) == name
    for wrong in ("0" * 64, name.upper(), name + "0", "..%2flock"):
        assert busy.request("admin", "GET", f"/v1/audit/blobs/{wrong}", source=new_source()).status == 404


def test_the_newest_record_is_found_at_once(busy):
    """A search knows every record that was on disk when it was asked."""
    for n in range(20):
        signed = busy.sign(f"9.{n}.0")
        assert [seq for seq, _ in search(busy, request=signed.request_id)] == [signed.json["record"]["seq"]]


# What is refused

NASTY = ["'", '"', "' OR 1=1 --", "x'; DROP TABLE record; --", "a%b", "a_b*", "\\", "%00", "a\nb", "(select 1)", "1 UNION SELECT 1", "?1", ":a",
         "\u00e9", "a" * 129]


@pytest.mark.parametrize("name", [*FIELDS, "since", "until", "after", "limit", "order", "format"])
def test_no_value_is_ever_sql(busy, name):
    for text in NASTY:
        if name == "version" and text == "a_b*":
            text = "a*"
        answer = ask(busy, **{name: text})
        assert answer.status == 400 and answer.slug in ("bad-request", "bad-name"), (name, text, answer)
    assert state(busy)["state"] == "following"


@pytest.mark.parametrize("query", ["colour=red", "event", "event=", "event=a&event=b", "EVENT=a", "=a", "&", "limit=0", "limit=1001", "after=-1",
                                   "order=up"])
def test_queries_are_strict(busy, query):
    answer = busy.request("admin", "GET", f"{RECORDS}?{query}", source=new_source())
    assert answer.status == 400, answer


def test_only_who_may(busy):
    stranger = busy.new_identity("reader-nobody", kind="human")
    for path in (RECORDS, f"{RECORDS}/0", "/v1/audit/blobs/" + "0" * 64):
        answer = busy.request("admin", "GET", path, cert=stranger)
        assert answer.status == 403, answer
        record = busy.record_of(answer)
        assert record["event"] == "read.api" and record["outcome"] == "denied" and record["actor"]["name"] == stranger.name
        assert busy.request("ci", "GET", path, source=new_source()).status == 404
    before = len(busy.lines())
    assert busy.request("admin", "GET", RECORDS).status == 200
    assert len(busy.lines()) == before, "what may be read leaves no record"


# kmsctl

def ctl(kms, *args, check=True):
    return kms.kmsctl("audit", *args, env=kms.env, check=check)


def test_kmsctl_search(busy):
    filters = {"event": "sign.release", "outcome": "ok", "app": "com.example.r1"}
    words = [word for name, value in filters.items() for word in (f"--{name}", value)]
    got = json.loads(ctl(busy, "search", *words, "-o", "json").stdout)["items"]
    assert [(item["record"]["seq"], item["hash"]) for item in got] == scan(busy, filters)[::-1]
    assert [item["record"]["seq"] for item in json.loads(ctl(busy, "search", "--limit", "3", "--oldest-first").stdout)["items"]] == [0, 1, 2]
    table = ctl(busy, "search", *words, "-o", "table").stdout.decode().splitlines()
    assert table[0].split()[:3] == ["SEQ", "TIME", "EVENT"] and len(table) == 1 + len(got)
    nothing = ctl(busy, "search", "--event", "sign.relaese", "-o", "json")
    assert json.loads(nothing.stdout)["items"] == [] and b"sign.relaese" in nothing.stderr
    assert not ctl(busy, "search", "--event", "sign.release", "-o", "json").stderr and not ctl(busy, "search", "--key", "nobodys").stderr
    assert ctl(busy, "search", "--actor", "x&limit=1", check=False).returncode == 2
    assert ctl(busy, "search", "--digest", "sha256:" + sha256(b"3")).stdout.count(b'"seq"') >= 2


def test_kmsctl_show(busy):
    line = busy.lines()[5]
    assert ctl(busy, "show", "5", "-o", "json").stdout == line + b"\n"
    assert sha256(line) in ctl(busy, "show", "5", "-o", "table").stdout.decode()
    assert ctl(busy, "show", "five", check=False).returncode == 2 and ctl(busy, "show", "99999", check=False).returncode == 1


def test_kmsctl_follow(busy):
    begun = len(busy.lines())
    follower = subprocess.Popen([BIN / "kmsctl", "audit", "follow", "--event", "sign.release", "--outcome", "ok", "--limit", "5", "-o", "json"],
                                env={**os.environ, **busy.env}, stdout=subprocess.PIPE)
    time.sleep(1.5)
    for n in range(5):
        assert busy.sign(f"20.{n}.0").status == 200
        time.sleep(0.4)
    out, _ = follower.communicate(timeout=20)
    assert out == b"".join(line + b"\n" for line in busy.lines()[begun:] if json.loads(line)["event"] == "sign.release")
    every = ctl(busy, "follow", "--after", "2", "--limit", "4").stdout.splitlines()
    assert every == busy.lines()[3:7]


def test_what_is_printed_cannot_deceive(busy):
    """Text of strangers: direction, erasing, colours."""
    evil = "\u202egnp.exe\u2066 \u200f\ufeff \u2028"
    signed = busy.request("ci", "POST", "/v1/sign", {**busy.release("30.0.0"), "source": evil})
    assert signed.status == 200 and evil.encode() in busy.lines()[signed.json["record"]["seq"]]
    seq = str(signed.json["record"]["seq"])
    for args in (["show", seq, "-o", "table"], ["show", seq, "-o", "json"], ["search", "--request", signed.request_id],
                 ["follow", "--after", str(int(seq) - 1), "--limit", "1"]):
        out = ctl(busy, *args).stdout.decode()
        assert not any(c < " " and c != "\n" or "\x7f" <= c <= "\x9f" or c in evil[0:1] + evil[8:] and c != " " for c in out), (args, out)
        assert "gnp.exe" in out or args[0] == "follow" or "table" in args


def test_kmsctl_download(own_kms, tmp_path):
    copy = tmp_path / "copy"
    policy = own_kms.request("admin", "GET", "/v1/policy").json["policy"]
    assert own_kms.signed("PUT", "/v1/policy", policy + "\n# " + "long" * 3000 + "\n", {"Content-Type": "application/yaml"}).status == 200
    assert own_kms.sign("1.0.0").status == 200
    first = json.loads(ctl(own_kms, "download", copy).stdout)
    assert first["fetched"] == first["head"]["seq"] + 1 and first["bodies"] >= 2
    head = f"{first['head']['seq']}:{first['head']['hash']}"
    assert run(BIN / "kms-audit", "verify", copy, "--head", head).returncode == 0
    segment, = copy.glob("*.jsonl")
    with segment.open("ab") as f:
        f.write(b'{"half":')  # an interrupted call
    for n in range(5):
        assert own_kms.sign(f"2.{n}.0").status == 200
    second = json.loads(ctl(own_kms, "download", copy).stdout)
    assert second["fetched"] >= 5 and segment.read_bytes() == b"".join(line + b"\n" for line in own_kms.lines()[:second["head"]["seq"] + 1])
    assert run(BIN / "kms-audit", "verify", copy, "--head", f"{second['head']['seq']}:{second['head']['hash']}").returncode == 0
    bodies = list((copy / "blobs").iterdir())
    bodies[0].unlink()
    assert run(BIN / "kms-audit", "verify", copy, check=False).returncode == 2, "the bodies are needed"
    other = tmp_path / "other"
    shutil.copytree(copy, other)
    lines = segment.read_bytes().splitlines(keepends=True)
    (other / segment.name).write_bytes(b"".join(lines[:-1]) + lines[-1].replace(b"2.4.0", b"2.5.0"))
    done = ctl(own_kms, "download", other, check=False)
    assert done.returncode == 1 and b"copy of another log" in done.stderr
    for text in (b'{"seq":-1}\n', b'{"seq":"1"}\n', b"{}\n"):
        (other / segment.name).write_bytes(text)
        done = ctl(own_kms, "download", other, check=False)
        assert done.returncode == 1 and b"does not end with a record" in done.stderr and (other / segment.name).read_bytes() == text
    # kms-audit would read DIR/audit, and call a copy that is sound no log at all.
    (tmp_path / "source/audit").mkdir(parents=True)
    done = ctl(own_kms, "download", tmp_path / "source", check=False)
    assert done.returncode == 1 and b"source/audit exists" in done.stderr and [p.name for p in (tmp_path / "source").iterdir()] == ["audit"]


# The index

def index(kms):
    return kms.dir / "index/state.db"


def remove(kms):
    index(kms).unlink()


def remove_all(kms):
    shutil.rmtree(index(kms).parent)


def empty(kms):
    index(kms).write_bytes(b"")


def truncate(kms):
    os.truncate(index(kms), index(kms).stat().st_size // 2)


def garbage(kms):
    index(kms).write_bytes(random.Random(3).randbytes(50000))


def flip(kms, seed=1):
    seed, data = random.Random(seed), bytearray(index(kms).read_bytes())
    for _ in range(40):
        data[seed.randrange(len(data))] ^= 1 << seed.randrange(8)
    index(kms).write_bytes(data)


def sql(kms, *statements):
    with sqlite3.connect(index(kms)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()
    db.close()


def foreign(kms):
    remove(kms)
    sql(kms, "CREATE TABLE record(seq INTEGER, event TEXT)", "INSERT INTO record VALUES(0, 'x')", "PRAGMA user_version = 1",
        "PRAGMA application_id = 1802335076")


def older_form(kms):
    sql(kms, "PRAGMA user_version = 0")


def another_index(kms):
    sql(kms, "CREATE INDEX i ON record(time)")


def trigger(kms):
    sql(kms, "CREATE TRIGGER t AFTER INSERT ON record BEGIN DELETE FROM record WHERE seq = 0; END")


def a_row_gone(kms):
    sql(kms, "DELETE FROM record WHERE seq = 3")


def a_wrong_hash(kms):
    sql(kms, "UPDATE record SET hash = zeroblob(32) WHERE seq = (SELECT max(seq) FROM record)")


def a_block_gone(kms):
    sql(kms, "DELETE FROM block")


def lengthen(kms, records=17000):
    """The log of a stopped instance has a block more, which is in the file of its index."""
    run(BUILD / "tests/longlog/longlog", kms.dir / "audit", records, 20, timeout=120)
    run(BIN / "kmsd", "rebuild-index", "--dir", kms.dir, timeout=120)


DAMAGE = [remove, remove_all, empty, truncate, garbage, foreign, older_form, another_index, trigger, a_row_gone, a_wrong_hash, a_block_gone]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """A stopped instance, started by each test after it did something to the index."""
    kms = Instance(tmp_path_factory.mktemp("damaged") / "dir")
    with kms:
        for n in range(8):
            assert kms.sign(f"1.{n}.0").status == 200
        following(kms)
    lengthen(kms)
    yield kms
    kms.stop(check=False)


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda d: d.__name__)
def test_a_spoilt_index_is_made_anew(damaged, damage):
    said = len((damaged.dir / "kmsd.log").read_text())
    damage(damaged)
    with damaged:
        assert damaged.sign(f"{int(time.time())}.0.0").status == 200, "signing does not wait for it"
        following(damaged)
        agrees(damaged, limit=1000)
        agrees(damaged, event="sign.release", limit=1000)
        agrees(damaged, app=damaged.ci_env["KMS_APP"], order="asc")
    assert "made from the log" in (damaged.dir / "kmsd.log").read_text()[said:]


@pytest.mark.parametrize("seed", range(8))
def test_flipped_bits(damaged, seed):
    """Anywhere in the file: found at the start, or while the index is looked through, or in an answer; and what is answered is right."""
    flip(damaged, seed)
    with damaged:
        following(damaged)
        damaged.wait(lambda: settled(damaged), 20, "right answers")


def settled(kms):
    """Do searches give what the log has? Not yet = the index is being made anew."""
    try:
        for filters in ({}, {"event": "sign.release"}, {"actor": "ci-example"}):
            agrees(kms, limit=1000, **filters)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("change", ["UPDATE posting SET records = (SELECT records FROM posting WHERE block = 0 AND value = 'sign.release') WHERE value = 'daemon.start'",
                                    "UPDATE record SET offset = offset + 1 WHERE seq = 4",
                                    "UPDATE record SET hash = zeroblob(32) WHERE seq = 4",
                                    "DELETE FROM posting WHERE value = 'ci-example'",
                                    "UPDATE posting SET value = 'sign.other' WHERE value = 'sign.release'"])
def test_an_altered_index_shows_nothing_wrong(damaged, change):
    """Sound as a database, and untrue: never believed, and made anew once it is noticed."""
    run(BIN / "kmsd", "rebuild-index", "--dir", damaged.dir)
    sql(damaged, change)
    with damaged:
        following(damaged)
        for filters in ({"event": "daemon.start"}, {}):
            answer = ask(damaged, **filters)
            assert answer.status == 503 or all(json.loads(damaged.lines()[item["record"]["seq"]]) == item["record"] and fits(item["record"], filters)
                                               for item in answer.json["items"])
        damaged.wait(lambda: settled(damaged), 20, "right answers")


def test_an_older_index_catches_up(own_kms):
    following(own_kms)
    own_kms.stop()
    lengthen(own_kms)
    kept = index(own_kms).read_bytes()
    with own_kms:
        for n in range(5):
            assert own_kms.sign(f"1.{n}.0").status == 200
    said = len((own_kms.dir / "kmsd.log").read_text())
    index(own_kms).write_bytes(kept)
    own_kms.start()
    following(own_kms)
    agrees(own_kms)
    assert "made from the log" not in (own_kms.dir / "kmsd.log").read_text()[said:]


def test_an_index_ahead_of_the_log(own_kms, tmp_path):
    """The whole instance is put back from a backup, its index is not."""
    own_kms.sign("1.0.0")
    following(own_kms)
    own_kms.stop()
    shutil.copytree(own_kms.dir, tmp_path / "backup", symlinks=True)
    with own_kms:
        for n in range(5):
            assert own_kms.sign(f"2.{n}.0").status == 200
        following(own_kms)
        agrees(own_kms)
    lengthen(own_kms)
    ahead = index(own_kms).read_bytes()
    shutil.rmtree(own_kms.dir)
    shutil.copytree(tmp_path / "backup", own_kms.dir, symlinks=True)
    index(own_kms).write_bytes(ahead)
    said = len((own_kms.dir / "kmsd.log").read_text())
    own_kms.start()
    assert own_kms.sign("3.0.0").status == 200
    following(own_kms)
    agrees(own_kms)
    assert search(own_kms, version="2.0.0") == []
    assert "not of this log" in (own_kms.dir / "kmsd.log").read_text()[said:]


def test_the_index_taken_away_while_it_is_used(own_kms):
    following(own_kms)
    index(own_kms).unlink()
    assert own_kms.sign("1.0.0").status == 200
    own_kms.wait(lambda: index(own_kms).exists(), 20, "another index")
    following(own_kms)
    agrees(own_kms)


def test_no_index_at_all(own_kms):
    """Its directory cannot be written: single records are still shown, searches say 503, signing goes on."""
    own_kms.stop()
    remove_all(own_kms)
    index(own_kms).parent.write_text("in the way")
    own_kms.start()
    assert own_kms.sign("1.0.0").status == 200
    answer = ask(own_kms)
    assert answer.status == 503 and answer.slug == "busy" and int(answer.headers["retry-after"]) > 0, answer
    assert own_kms.request("admin", "GET", f"{RECORDS}/0").body == own_kms.lines()[0]
    own_kms.wait(lambda: state(own_kms)["state"] == "failed" and own_kms.health()[0] == 200, what="readiness without an index")
    assert len(own_kms.records(event="daemon.child")) == 0


def test_rebuild_index(own_kms):
    assert own_kms.sign("1.0.0").status == 200
    following(own_kms)
    done = run(BIN / "kmsd", "rebuild-index", "--dir", own_kms.dir, check=False, timeout=30)
    assert done.returncode == 1 and b"kmsd rebuild-index" in done.stderr, "a reader holds the index"
    own_kms.stop()
    garbage(own_kms)
    done = run(BIN / "kmsd", "rebuild-index", "--dir", own_kms.dir)
    assert b"100 %" in done.stderr and f"{len(own_kms.lines())} records".encode() in done.stdout
    said = len((own_kms.dir / "kmsd.log").read_text())
    own_kms.start()
    following(own_kms)
    agrees(own_kms)
    assert "made from the log" not in (own_kms.dir / "kmsd.log").read_text()[said:]
    assert run(BIN / "kmsd", "rebuild-index", check=False).returncode == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_rebuilds_nobody_elses_index(own_kms):
    """An index of root's would be in the way of the account that the service runs as."""
    own_kms.stop()
    remove_all(own_kms)
    os.chown(own_kms.dir / "audit", 12345, 12345)
    done = run(BIN / "kmsd", "rebuild-index", "--dir", own_kms.dir, check=False)
    assert done.returncode == 1 and b"belongs to the user with number 12345" in done.stderr and not (own_kms.dir / "index/state.db").exists()


def test_check_speaks_of_the_index(own_kms):
    own_kms.stop()
    assert b"state.db" in run(BIN / "kmsd", "check", "--dir", own_kms.dir).stdout
    remove_all(own_kms)
    assert b"none yet" in run(BIN / "kmsd", "check", "--dir", own_kms.dir).stdout
    with (own_kms.dir / "kmsd.yaml").open("a") as settings:
        settings.write("reader: {index: audit/state.db}\n")
    done = run(BIN / "kmsd", "check", "--dir", own_kms.dir, check=False)
    assert done.returncode == 1 and b"directory of its own" in done.stdout + done.stderr


# The process

def test_a_dead_reader_costs_nobody_a_signature(own_kms):
    following(own_kms)
    for n in range(5):
        own_kms.kill(own_kms.child("kmsd-reader"))
        assert own_kms.sign(f"1.{n}.0").status == 200
        answer = ask(own_kms)
        assert answer.status == 200 or (answer.status == 503 and answer.slug == "busy" and int(answer.headers["retry-after"]) > 0), answer
        own_kms.wait(lambda: ask(own_kms).status == 200, 60, "another reader")
        agrees(own_kms)
    assert own_kms.health()[0] == 200
    assert {r["detail"]["role"] for r in own_kms.records(event="daemon.child")} == {"reader"}


def test_a_reader_that_hangs(own_kms):
    following(own_kms)
    reader = own_kms.child("kmsd-reader")
    own_kms.kill(reader, signal.SIGSTOP)
    begun = time.monotonic()
    assert ask(own_kms).status == 503 and time.monotonic() - begun < 15
    for n in range(20):
        assert own_kms.sign(f"1.{n}.0").status == 200
        begun = time.monotonic()
        answer = ask(own_kms)
        assert answer.status == 503 and time.monotonic() - begun < 2, "one that is silent is not asked again"
        if answer.json["detail"].find("does not answer") < 0:
            time.sleep(0.3)
    assert own_kms.health()[0] == 200 and json.loads(own_kms.health()[1])["reader"] == "silent"
    own_kms.wait(lambda: reader not in own_kms.children(), 60, "the end of the reader that hangs")
    own_kms.wait(lambda: ask(own_kms).status == 200, 60, "another reader")
    agrees(own_kms)


def test_one_caller_leaves_others_a_place(own_kms):
    following(own_kms)
    reviewer = own_kms.new_identity("reviewer", kind="human")
    policy = own_kms.request("admin", "GET", "/v1/policy").json["policy"].replace(
        "roles:\n", "roles:\n  reviewer:\n    - name: review\n      allow: [audit.read]\n", 1) + f"  - {{role: reviewer, to: ['identity:{reviewer.name}']}}\n"
    assert own_kms.signed("PUT", "/v1/policy", policy, {"Content-Type": "application/yaml"}).status == 200
    reader = own_kms.child("kmsd-reader")
    own_kms.kill(reader, signal.SIGSTOP)
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(ask, own_kms) for _ in range(5)]
        own_kms.wait(lambda: any(w.done() for w in waiting), 10, "the refusal of a fifth question")
        other = pool.submit(ask, own_kms, reviewer)
        time.sleep(0.5)
        assert not other.done()
        own_kms.kill(reader, signal.SIGCONT)
        answers = [w.result() for w in waiting]
        assert sorted(a.status for a in answers) == [200] * 4 + [503] and other.result().status == 200
        assert "searches of yours" in next(a for a in answers if a.status == 503).json["detail"]


def test_many_questions_at_once(busy):
    """More than are let in: each is answered, or refused with a word; none hangs."""
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda n: ask(busy, limit=1000, order="desc"), range(96)))
    assert {a.status for a in answers} <= {200, 503} and sum(a.status == 200 for a in answers) >= 8
    assert busy.sign("40.0.0").status == 200


# A longer log

def test_a_long_log(tmp_path):
    """tests/bench/reader.py does this with a million records."""
    kms = Instance(tmp_path / "dir")
    with kms:
        kms.sign("1.0.0")
    run(BUILD / "tests/longlog/longlog", kms.dir / "audit", 30000, 20, timeout=120)
    run(BIN / "kmsd", "rebuild-index", "--dir", kms.dir, timeout=120)
    with kms:
        following(kms)
        records = [json.loads(line) for line in kms.lines()]
        seed = random.Random(11)
        for _ in range(25):
            record = seed.choice(records)
            filters = {name: member(record, FIELDS[name]) for name in seed.sample(sorted(FIELDS), 2)}
            filters = {name: value for name, value in filters.items() if value}
            order = seed.choice(["asc", "desc"])
            expected = [r["seq"] for r in records if fits(r, filters)]
            expected = (expected if order == "asc" else expected[::-1])[:300]
            begun = time.monotonic()
            answer = ask(kms, **filters, order=order, limit=300)
            assert answer.status == 200 and [item["record"]["seq"] for item in answer.json["items"]] == expected[:len(answer.json["items"])]
            assert len(answer.json["items"]) == len(expected) or answer.json["next"] is not None
            assert time.monotonic() - begun < 3
