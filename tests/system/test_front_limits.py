"""What a front gives at most: bodies at either door, processor time while requests wait, descriptors, and the name of an IPv6 peer."""
import contextlib
import os
import resource
import socket
import time

import pytest

from test_front_core import BODY, GET, HELLO, SOURCE, Front, answer, pki  # noqa: F401 (pki is a fixture)


@contextlib.contextmanager
def front_of(pki, where, limits="", door="ci"):  # noqa: F811
    front = Front(where / "front", pki["ca"], pki["server"], limits, door)
    try:
        assert front.frame().kind == HELLO
        yield front
        assert front.alive()
    finally:
        code = front.end()
    assert code == 0


@pytest.mark.parametrize("door,limits,most", [("admin", "", 300 << 10), ("admin", "body_bytes: 1024", 300 << 10), ("ci", "body_bytes: 1024", 1024),
                                              ("ci", "body_bytes: 1048576", 1 << 20)])
def test_body_limit_of_the_door(pki, tmp_path, door, limits, most):  # noqa: F811
    with front_of(pki, tmp_path, limits, door) as front:
        for size in (most, most + 1):
            with front.connect(pki["client"]) as s:
                with contextlib.suppress(OSError):
                    s.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + (b"z" * size if size == most else b""))
                if size == most:
                    f = front.request()
                    assert f.fields[BODY] == b"z" * size
                    front.reply(f)
                assert answer(s)[0] == (200 if size == most else 413)


def processor_seconds(front):
    with open(f"/proc/{front.process.pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_waiting_costs_nothing(pki, tmp_path):  # noqa: F811
    """Requests held back behind one that the core works on, or behind an answer nobody reads, must not make the loop turn."""
    with front_of(pki, tmp_path) as front, front.connect(pki["client"]) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(GET * 12)
        f = front.request()
        before = processor_seconds(front)
        time.sleep(1)
        assert processor_seconds(front) - before < 0.3
        answered = 0
        while f:
            front.reply(f, body=b"x" * 1900000)
            answered += 1
            f = front.request(1)
        assert answered < 12, "the answers all fitted into socket buffers"
        before = processor_seconds(front)
        time.sleep(1)
        assert processor_seconds(front) - before < 0.3


def test_out_of_descriptors(pki, tmp_path):  # noqa: F811
    with front_of(pki, tmp_path) as front:
        resource.prlimit(front.process.pid, resource.RLIMIT_NOFILE, (40, 40))
        held = [socket.create_connection(front.address) for _ in range(80)]
        time.sleep(0.5)
        before = processor_seconds(front)
        time.sleep(1)
        assert processor_seconds(front) - before < 0.3
        for s in held:
            s.close()
        with front.connect(pki["client"]) as s, front.answering():
            s.sendall(GET)
            assert answer(s)[0] == 200


def test_name_of_a_peer_on_an_ipv6_socket(pki, tmp_path, monkeypatch):  # noqa: F811
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    with monkeypatch.context() as m:
        listening = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        m.setattr(socket, "create_server", lambda *_, **__: listening)
        with front_of(pki, tmp_path) as front:
            for name in ("::1", "127.0.0.1"):
                front.address = (name, listening.getsockname()[1])
                with front.connect(pki["client"]) as s:
                    s.sendall(GET)
                    f = front.request()
                    assert f.text(SOURCE) == name
                    front.reply(f)
                    assert answer(s)[0] == 200


def test_long_bodies_make_way_for_answers_that_nobody_reads(pki, tmp_path):  # noqa: F811
    """Beyond 128 MiB of requests and answers no long body is taken; short requests go on, and long ones too as soon as there is room again."""
    long = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n" + b"z" * 200000
    with front_of(pki, tmp_path) as front, contextlib.ExitStack() as silent:
        for _ in range(17):
            s = silent.enter_context(front.connect(pki["client"]))
            s.sendall(GET)
            front.reply(front.request(), body=b"x" * (8000 << 10))
        with front.connect(pki["client"]) as s:
            s.sendall(long)
            assert answer(s)[0] == 503 and front.request(0.3) is None
        with front.connect(pki["client"]) as s:
            s.sendall(GET)
            front.reply(front.request())
            assert answer(s)[0] == 200
        silent.close()
        end = time.monotonic() + 10
        while True:
            with front.connect(pki["client"]) as s:
                s.sendall(long)
                if f := front.request(1):
                    assert f.fields[BODY] == b"z" * 200000
                    front.reply(f)
                    assert answer(s)[0] == 200
                    break
                assert answer(s)[0] == 503 and time.monotonic() < end
