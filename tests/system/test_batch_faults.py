"""Batches while something fails: lanes, the core, the disk, the client, a slow token; and kmsctl with many files."""
import http.client
import json
import signal
import socket
import threading
import time

import pytest

from kms import Instance, sha256
from test_batch import MOST, audit, batch, check_items, item, new_app, slugs
from test_disk import small  # noqa: F401 (a fixture)
from test_limits import small as leave_room
from tokens import SOFTHSM, Shim, build_modules


def long_batch(app, kms, count=MOST):
    return [item(kms, app, f"file-{n}") for n in range(count)]


def send_batch(kms, items, key, result):
    """In a thread: the answer, or what went wrong, into result."""
    def ask():
        try:
            result.append(batch(kms, items, key=key))
        except (OSError, http.client.HTTPException) as failure:
            result.append(failure)
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    return thread


def signed_names(kms, app):
    """Artifact names of the app in the log; none may be there twice."""
    names = [record["detail"]["name"] for record in kms.records(event="sign.release", outcome="ok") if record["artifact"]["app"] == app]
    assert len(names) == len(set(names))
    return set(names)


def finish(kms, items, key, seconds=30):
    """Asks under the same key until every item is signed."""
    def ask():
        try:
            answer = batch(kms, items, key=key)
        except (OSError, http.client.HTTPException, AssertionError):
            return None
        return answer if answer.status == 200 and not answer.json["failed"] else None
    answer = kms.wait(ask, seconds, "a batch without a failure")
    check_items(kms, items, answer)
    assert signed_names(kms, items[0]["app"]) == {one["name"] for one in items}
    kms.check_chain()
    audit(kms)
    return answer


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lane_dies(own_kms, sig):
    """Its items go to another lane, or are refused with 503; the others never notice."""
    kms, result = own_kms, []
    items = long_batch(new_app(), kms)
    lane = kms.lanes()[0]
    thread = send_batch(kms, items, "lane", result)
    kms.wait(lambda: len(kms.lines()) > 60, what="records of the batch")
    kms.kill(lane, sig)
    thread.join(60)
    words = slugs(result[0])
    assert set(words) <= {"ok", "token-unavailable"}
    told = [one for one in result[0].json["items"] if "problem" not in one]
    again = finish(kms, items, "lane").json["items"]
    assert all(one in again for one in told[:: 50])
    assert all(one["problem"]["retry_after"] >= 1 for one in result[0].json["items"] if "problem" in one)


def test_all_lanes_die_again_and_again(own_kms):
    kms, result = own_kms, []
    items = long_batch(new_app(), kms)
    thread = send_batch(kms, items, "lanes", result)
    for _ in range(3):
        time.sleep(0.1)
        for lane in kms.lanes():
            kms.kill(lane)
    thread.join(60)
    assert set(slugs(result[0])) <= {"ok", "token-unavailable"}
    finish(kms, items, "lanes")


def test_the_core_dies(own_kms):
    """What was recorded before is answered from the log; nothing is signed twice."""
    kms, result = own_kms, []
    items = long_batch(new_app(), kms)
    thread = send_batch(kms, items, "core", result)
    kms.wait(lambda: len(kms.lines()) > 100, what="records of the batch")
    kms.kill(kms.child("kmsd-core"))
    thread.join(60)
    assert isinstance(result[0], Exception) or result[0].status >= 500, result
    before = signed_names(kms, items[0]["app"])
    assert before
    finish(kms, items, "core")


def test_who_has_no_right_there_does_not_wait(own_kms):
    """Items are authorised before they queue behind others: a stranger to the channel is refused while the other one is still being signed."""
    kms = own_kms
    stranger = kms.new_identity("stranger")

    def refused_meanwhile():
        app, done = new_app(), []
        for pid in kms.lanes():
            kms.kill(pid, signal.SIGSTOP)  # for more than half a second nothing is signed
        thread = threading.Thread(target=lambda: done.append(kms.sign("1.0.0", app=app)), daemon=True)
        thread.start()
        time.sleep(0.1)
        since = time.monotonic()
        answer = kms.request("ci", "POST", "/v1/sign", {"items": [kms.release("2.0.0", app=app) for _ in range(20)]}, cert=stranger)
        meanwhile = not done and time.monotonic() - since < 0.4
        assert answer.status == 200 and answer.json["failed"] == 20, answer
        assert {one["problem"]["type"] for one in answer.json["items"]} == {"urn:kmsd:problem:forbidden"}
        thread.join()
        kms.wait(lambda: kms.sign("2.0.0", app=app).status == 200, what="signatures of new lanes")
        return meanwhile

    assert any(refused_meanwhile() for _ in range(3))


def test_the_client_goes_away(own_kms):
    """The items that are under way end as they would; the service goes on at once."""
    kms = own_kms
    items = long_batch(new_app(), kms)
    body = json.dumps({"items": items}).encode()
    plain = socket.create_connection(kms.address("ci"))
    with kms.context(kms.ci).wrap_socket(plain, server_hostname=kms.address("ci")[0]) as peer:
        peer.sendall(b"POST /v1/sign HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        kms.wait(lambda: len(kms.lines()) > 60, what="records of the batch")
    assert kms.sign("1.0.0", app=new_app()).status == 200
    kms.wait(lambda: len(signed_names(kms, items[0]["app"])) == MOST, what="the rest of the batch")
    kms.check_chain()


def test_half_a_batch_arrives(kms):
    before = len(kms.lines())
    kms.raw("ci", b"POST /v1/sign HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 900000\r\n\r\n{\"items\": [" + b" " * 100000)
    assert kms.sign("1.0.0", app=new_app()).status == 200
    assert len(kms.lines()) == before + 1


def test_a_stop_in_the_middle(own_kms):
    """What is under way is answered, the rest is refused as not begun; daemon.stop comes last."""
    kms, result = own_kms, []
    items = long_batch(new_app(), kms)
    thread = send_batch(kms, items, "stop", result)
    kms.wait(lambda: len(kms.lines()) > 100, what="records of the batch")
    begun = time.monotonic()
    kms.stop()
    assert time.monotonic() - begun < 10
    thread.join(60)
    assert json.loads(kms.lines()[-1])["event"] == "daemon.stop"
    if not isinstance(result[0], Exception):
        assert set(slugs(result[0])) <= {"ok", "busy"}
    kms.start()
    finish(kms, items, "stop")


def test_the_disk_fills(small):  # noqa: F811
    kms, filler = small
    items, n = [], 0
    while True:
        n += 1
        items = [item(kms, new_app(), f"file-{n}") for n in range(200)]
        answer = batch(kms, items, key=f"disk-{n}")
        words = slugs(answer)
        assert set(words) <= {"ok", "log-unavailable"}, set(words)
        if "log-unavailable" in words:
            break
        assert n < 20
    assert slugs(batch(kms, items)) == words or "log-unavailable" in slugs(batch(kms, items))
    filler.unlink()
    kms.wait(lambda: not batch(kms, items, key=f"disk-{n}").json["failed"], 10, "room")
    kms.check_chain()
    audit(kms)


def test_others_have_their_turn_beside_a_slow_token(tmp_path):
    """A batch does not fill the queue of a token that is slow: who asks meanwhile waits for a few of its items, not for all."""
    build_modules()
    shim = Shim(tmp_path, SOFTHSM)
    with Instance(tmp_path / "dir", "--module", shim.module) as kms:
        kms.wait(lambda: kms.sign("1.0.0", app=new_app()).status == 200, 10, "a signature")
        shim.set("C_Sign always delay:100")
        items, result, lanes = long_batch(new_app(), kms, 50 * len(kms.lanes())), [], kms.lanes()
        begun = time.monotonic()
        thread = send_batch(kms, items, "slow", result)
        time.sleep(2.5)
        asked = time.monotonic()
        assert kms.sign("1.0.0", app=new_app()).status == 200
        waited = time.monotonic() - asked
        thread.join(60)
        assert slugs(result[0]) == ["ok"] * len(items) and time.monotonic() - begun > 4 and kms.lanes() == lanes
        assert waited < 1.5, waited
        shim.set()


def test_kmsctl_signs_many_files(own_kms, tmp_path):
    """From files to envelopes that verify, and the same again under the same key; one that is refused stands out."""
    kms = own_kms
    names = [f"part-{n}.bin" for n in range(1100)]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    files = [tmp_path / name for name in names]
    env = {"KMS_APP": new_app()}
    done = kms.kmsctl("sign", *files, "--version", "1.0.0", "--idempotency-key", "job", "--output", "json", env={**kms.ci_env, **env})
    first = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["name"] for result in first] == names and len({result["record"]["seq"] for result in first}) == len(names)
    (tmp_path / "pub.pem").write_bytes(kms.kmsctl("key", "public", "release").stdout)
    for path in files[::100]:
        kms.kmsctl("verify", path, f"{path}.dsse.json", "--pub", tmp_path / "pub.pem", "--allow-dev", "--app", env["KMS_APP"])
    done = kms.kmsctl("sign", *files, "--version", "1.0.0", "--idempotency-key", "job", "--output", "json", env={**kms.ci_env, **env})
    assert [json.loads(line)["record"] for line in done.stdout.splitlines()] == [result["record"] for result in first]
    files[5].write_bytes(b"changed")
    done = kms.kmsctl("sign", *files[:10], "--version", "1.0.0", "--output", "json", env={**kms.ci_env, **env}, check=False)
    assert done.returncode == 1 and b"digest-conflict" in done.stderr
    assert [json.loads(line).get("error", {}).get("slug") for line in done.stdout.splitlines()] == [None] * 5 + ["digest-conflict"] + [None] * 4
    audit(kms)


@pytest.mark.parametrize("program, options", [("kmsd-core", {}), ("kmsd-front", {"door": "ci"})])
@pytest.mark.parametrize("room", [0, 1 << 20, 4 << 20])
def test_no_memory_for_a_batch(own_kms, program, options, room):
    """Whatever is answered, what was told is in the log, and the whole batch is signed as soon as there is memory again."""
    kms, told, items = own_kms, [], long_batch(new_app(), own_kms)
    pid = kms.child(program, **options)
    leave_room(pid, room)
    for turn in range(4):
        try:
            answer = batch(kms, items, key="memory")
        except (OSError, http.client.HTTPException):
            continue
        assert answer.status in (200, 500, 503), answer
        if answer.status == 200:
            assert set(slugs(answer)) <= {"ok", "busy", "internal", "token-unavailable", "log-unavailable"}
            told += [one["record"] for one in answer.json["items"] if "problem" not in one]
    if pid in kms.children():
        kms.kill(pid)
    again = finish(kms, items, "memory").json["items"]
    lines = kms.lines()
    assert all(sha256(lines[record["seq"]]) == record["hash"] for record in told)
    assert len(again) == MOST
