"""The health door: liveness and readiness for probes, on a socket and in a process of its own."""
import json
import os
import socket
import stat
import time

import pytest

from kms import BIN, Instance, run


def ready(kms):
    try:
        status, body = kms.health()
    except OSError:
        return None  # the core is away, and the door with it
    state = json.loads(body)
    assert (status == 200) == state["ready"] and (status == 503 or not state["reasons"]), (status, state)
    return state


def test_a_healthy_service(kms):
    assert kms.health("/healthz") == (200, b"ok\n")
    kms.wait(lambda: ready(kms)["ready"], 5, "readiness")
    state = ready(kms)
    assert state["lanes"]["sign"]["ready"] == state["lanes"]["sign"]["total"] > 0 and state["lanes"]["admin"] == {"ready": 1, "total": 1}
    assert state["log"] == "ok" and state["reader"] and not state["sealed"] and not state["stopping"] and state["sandbox"]
    assert kms.health("/readyz", "HEAD")[1] == b""


def test_the_socket_is_not_for_everybody(kms):
    mode = os.stat(kms.dir / "health.sock").st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o660
    assert f"KMS_HEALTH='unix:{kms.dir}/health.sock'" in (kms.dir / "env").read_text()


@pytest.mark.parametrize("path,method,status", [("/", "GET", 404), ("/readyz/", "GET", 404), ("/v1/status", "GET", 404), ("/healthz", "POST", 405),
                                                ("/readyz", "DELETE", 405)])
def test_nothing_else_is_there(kms, path, method, status):
    assert kms.health(path, method)[0] == status


@pytest.mark.parametrize("raw", [b"\r\n\r\n", b"GET\r\n\r\n", b"\x00" * 64, b"GET /readyz HTTP/9.9\r\n\r\n", b"A" * 20000 + b"\r\n\r\n",
                                 b"POST /readyz HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\nxx", b"\x16\x03\x01\x02\x00\x01\x00"])
def test_malformed_requests(kms, raw):
    """Refused or closed within the door's deadline, and the door lives."""
    door, begun = kms.child("kmsd-front", door="health"), time.monotonic()
    try:
        got = kms.health(raw=raw)
        assert b" 200 " not in got.split(b"\r\n")[0]
    except ConnectionError:
        pass
    assert time.monotonic() - begun < 8
    assert kms.health("/healthz")[0] == 200 and kms.child("kmsd-front", door="health") == door


def test_slow_peers_are_let_go(kms):
    """A hundred that send nothing, or a byte now and then, are closed after three seconds each; the door answers others meanwhile or right after."""
    here = os.open(kms.dir, os.O_PATH)
    slow = []
    for _ in range(100):
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(f"/proc/self/fd/{here}/health.sock")
        slow.append(peer)
    end = time.monotonic() + 8
    while slow and time.monotonic() < end:
        for peer in list(slow):
            try:
                peer.send(b"G")
            except OSError:
                peer.close()
                slow.remove(peer)
        assert kms.health("/healthz")[0] == 200
        time.sleep(0.2)
    os.close(here)
    assert not slow


def test_red_and_green(own_kms):
    kms = own_kms
    kms.wait(lambda: ready(kms)["ready"], 5, "readiness")
    store, away = kms.dir / "tokens/keys/store", kms.dir / "tokens/keys/away"
    store.rename(away)
    state = kms.wait(lambda: not ready(kms)["ready"] and ready(kms), 5, "red")
    kms.wait(lambda: "the token is away" in ready(kms)["reasons"], 5, "the reason")
    away.rename(store)
    kms.wait(lambda: ready(kms)["ready"], 5, "green")
    before = set(kms.children())
    kms.kill(kms.child("kmsd-core"))
    kms.wait(lambda: not before & set(kms.children()), 10, "the end of the door that knew the old core")
    kms.wait(lambda: (ready(kms) or {}).get("ready"), 10, "green after a new core")
    assert kms.sign("1.0.0").status == 200


@pytest.mark.parametrize("where,code", [("127.0.0.1:0", None), ("off", None), ("0.0.0.0:9000", 1), ("8.8.8.8:80", 1), ("unix:", 1), ("localhost:80", 1)])
def test_where_it_listens(tmp_path, where, code):
    kms = Instance(tmp_path / "dir")
    with kms:
        pass
    settings = kms.dir / "kmsd.yaml"
    settings.write_text(settings.read_text().replace("listen:\n", f"listen:\n  health: '{where}'\n", 1))
    if code:
        done = run(BIN / "kmsd", "run", "--settings", settings, "--allow-dev", check=False)
        assert done.returncode == code and b"listen" in done.stderr, done.stderr
        return
    with kms:
        doors = [argv for argv in kms.children().values() if "health" in argv]
        assert len(doors) == (where != "off")
