"""The doors under attack: floods, slow peers, full tables. A good client is served all the same, and afterwards nothing is left of it."""
import contextlib
import os
import re
import resource
import socket
import ssl
import struct
import time

import pytest

from load import Threads, sign_p99
from test_front_core import CODE, COUNT, GET, HTTP_REFUSED, REASON, SOURCE, TLS_REFUSED, answer, closed, pki, survives  # noqa: F401 (pki)
from test_front_limits import front_of, processor_seconds

NEEDED = 3000   # descriptors
POST = b"POST /v1/sign HTTP/1.1\r\nHost: kms\r\nContent-Type: application/json\r\n"


@pytest.fixture(autouse=True)
def descriptors():
    """Here, and inherited by the front."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < NEEDED:
        pytest.skip(f"needs {NEEDED} descriptors, the limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, NEEDED), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def context(ca, identity=None):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(ca)
    made.check_hostname = False
    if identity:
        made.load_cert_chain(*identity)
    return made


class Crowd:
    """Connections from several addresses of the loopback network."""

    def __init__(self, address, tls):
        self.address, self.tls, self.held = address, tls, []

    def plain(self, source):
        self.held.append(socket.create_connection(self.address, timeout=10, source_address=(source, 0)))
        return self.held[-1]

    def secure(self, source):
        peer = self.plain(source)
        self.held[-1] = self.tls.wrap_socket(peer)
        return self.held[-1]

    def slow(self, number, source):
        """TCP only, half a ClientHello, half a head, half a body, in turn."""
        if number % 4 == 0:
            self.plain(source)
        elif number % 4 == 1:
            self.plain(source).sendall(bytes.fromhex("160301020001 0001fc0303") + os.urandom(20))
        else:
            self.secure(source).sendall(GET[:20] if number % 4 == 2 else POST + b"Content-Length: 500\r\n\r\n{")

    def living(self):
        """Those that the door has not closed."""
        alive = 0
        for peer in self.held:
            peer.settimeout(0)
            try:
                while peer.recv(4096):   # an alert may come first
                    pass
            except (BlockingIOError, ssl.SSLWantReadError):
                alive += 1
            except OSError:
                pass
        return alive

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for peer in self.held:
            peer.close()


def crowd(front, pki):  # noqa: F811
    return Crowd(front.address, context(pki["ca"].pem, pki["client"]))


def descriptors_of(front):
    return len(os.listdir(f"/proc/{front.process.pid}/fd"))


def resident(front):
    """KiB."""
    with open(f"/proc/{front.process.pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))


def settles(condition, seconds=10):
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


def served(front, identity, requests=3):
    """A good client that comes now: seconds until its first answer."""
    begun = time.monotonic()
    with front.connect(identity) as s:
        for n in range(requests):
            s.sendall(GET)
            assert answer(s)[0] == 200
            first = time.monotonic() - begun if not n else first
    return first


# A full table


@pytest.mark.parametrize("kinds", [(0, 1, 2, 3), (0,), (1,), (3,)], ids=["mixed", "tcp-only", "half-hello", "slow-body"])
def test_full_table_makes_room(pki, tmp_path, kinds):  # noqa: F811
    """1,100 slow connections against a limit of 1,024: whoever comes then gets in at once, who was there before stays, and the door is idle."""
    with front_of(pki, tmp_path, "request_seconds: 120") as front, crowd(front, pki) as bad, front.answering():
        with front.connect(pki["client"]) as early:
            early.sendall(GET)
            assert answer(early)[0] == 200
            for n in range(1100):
                bad.slow(kinds[n % len(kinds)], f"127.0.1.{1 + n % 6}")
                if kinds == (3,) and n == 880:
                    time.sleep(1.2)   # a request that arrives as it should is not sent away
            assert settles(lambda: 800 <= bad.living() <= 1000)
            assert descriptors_of(front) < 1024
            assert served(front, pki["client"]) < 2
            before = processor_seconds(front)
            time.sleep(1)
            assert processor_seconds(front) - before < 0.3
            early.sendall(GET)
            assert answer(early)[0] == 200


@pytest.mark.parametrize("limits", ["connections: 16, request_seconds: 120"])
def test_whoever_holds_most_makes_room(pki, tmp_path, limits):  # noqa: F811
    """At 14 of 16 the next to come displaces one of the address with most, the oldest of it; what the core works on stays."""
    with front_of(pki, tmp_path, limits) as front, crowd(front, pki) as bad:
        working = bad.secure("127.0.2.1")
        working.sendall(GET)
        f = front.request()
        few = [bad.plain("127.0.2.2") for _ in range(2)]
        many = [bad.secure("127.0.2.1") for _ in range(11)]
        time.sleep(0.3)
        assert bad.living() == 14
        more = [bad.secure("127.0.2.3") for _ in range(3)]
        assert all(closed(s, 2) for s in many[:3])
        for s in many[3:] + few + more:
            assert survives(s, 0.1) == 0.1
        front.reply(f)
        working.settimeout(5)
        assert answer(working)[0] == 200


def test_nobody_is_sent_away_while_all_are_worked_on(pki, tmp_path):  # noqa: F811
    """Full of requests the core has: the next one waits, nothing is lost, and waiting costs nothing."""
    with front_of(pki, tmp_path, "connections: 16, request_seconds: 120") as front, crowd(front, pki) as good:
        frames = []
        for n in range(16):
            good.secure(f"127.0.3.{1 + n % 2}").sendall(GET)
            frames.append(front.request())
        waiting = socket.create_connection(front.address, timeout=10)
        before = processor_seconds(front)
        time.sleep(1)
        assert processor_seconds(front) - before < 0.3
        for f in frames:
            front.reply(f)
        for s in good.held:
            assert answer(s)[0] == 200
        with good.tls.wrap_socket(waiting) as s, front.answering():
            s.sendall(GET)
            assert answer(s)[0] == 200


# Slow peers


def drip(s, data, seconds=6):
    """A byte now and then, until the door says something: that, and when."""
    begun = time.monotonic()
    s.settimeout(0.2)
    for n in range(int(seconds / 0.2)):
        try:
            s.sendall(data[n % len(data):n % len(data) + 1])
            got = s.recv(65536)
            s.settimeout(5)
            return got, time.monotonic() - begun
        except TimeoutError:
            continue
    return b"", seconds


@pytest.mark.parametrize("data,why", [
    (b"G", b"head"), (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"head"),
    (POST + b"Content-Length: 1\r\n\r\n", b"body"), (POST + b"Content-Length: 65536\r\n\r\n", b"body"),
    (POST + b"Content-Length: 60000\r\n\r\n" + b"x" * 59000, b"body"), (POST + b"Expect: 100-continue\r\nContent-Length: 6\r\n\r\n", b"body")])
@pytest.mark.parametrize("byte", [b"", b"a"], ids=["silent", "dripping"])
def test_late_request_hears_408(pki, tmp_path, data, why, byte):  # noqa: F811
    """The whole of it has request_seconds, however often a byte comes. The made up rest of a body reaches nobody."""
    if byte and b"Length: 1\r" in data:
        pytest.skip("one byte makes it whole")
    with front_of(pki, tmp_path, "request_seconds: 1") as front, front.connect(pki["client"]) as s:
        begun = time.monotonic()
        s.sendall(data)
        if b"Expect" in data:
            assert s.recv(100).startswith(b"HTTP/1.1 100")
        got, _ = drip(s, byte, 4) if byte and b"Expect" not in data else (b"", 0)
        status, head, body, rest = answer(s, got)
        assert 0.9 < time.monotonic() - begun < 2.5
        assert status == 408 and head[b"connection"] == b"close" and why in body and b":request-timeout" in body and not rest
        assert closed(s, 2)
        f = front.frame()
        assert f.kind == HTTP_REFUSED and f.text(SOURCE) == "127.0.0.1" and f.number(CODE)
        assert not front.frame(1), "refused once, and no request"


def test_late_request_behind_a_good_one(pki, tmp_path):  # noqa: F811
    with front_of(pki, tmp_path, "request_seconds: 1") as front, front.connect(pki["client"]) as s, front.answering() as seen:
        s.sendall(GET + POST + b"Content-Length: 9\r\n\r\nhalf")
        status, _, _, rest = answer(s)
        assert status == 200
        assert answer(s, rest)[0] == 408 and closed(s)
        assert len(seen) == 1


def test_half_open_handshakes_end(pki, tmp_path):  # noqa: F811
    with front_of(pki, tmp_path, "request_seconds: 1") as front, crowd(front, pki) as bad:
        before = descriptors_of(front)
        begun = time.monotonic()
        for n in range(100):
            bad.slow(n % 2, "127.0.0.1")
        assert settles(lambda: bad.living() == 0, 4) and 0.9 < time.monotonic() - begun
        assert settles(lambda: descriptors_of(front) == before)
        counted = sum(f.number(COUNT) for f in front.kinds(TLS_REFUSED, 2) if f.text(REASON) == "tls-timeout")
        assert counted == 100


def test_answer_that_nobody_reads(pki, tmp_path):  # noqa: F811
    """It has four times request_seconds. One that is read slowly, but within that, arrives whole."""
    with front_of(pki, tmp_path, "request_seconds: 1") as front, front.connect(pki["client"]) as deaf, front.connect(pki["client"]) as slow:
        before = descriptors_of(front)
        deaf.sendall(GET * 12)
        while f := front.request(0.5):
            front.reply(f, body=b"x" * 1900000)
        begun = time.monotonic()
        slow.sendall(GET)
        front.reply(front.request(), body=b"y" * 1900000)
        got = b""
        for _ in range(4):
            time.sleep(0.5)
            got += slow.recv(16384)
        assert answer(slow, got)[2] == b"y" * 1900000
        assert settles(lambda: descriptors_of(front) == before - 1, 6)
        assert 2.5 < time.monotonic() - begun < 5.5


# Floods


@contextlib.contextmanager
def leaves_nothing(front, identity, kib=24 << 10):
    """Descriptors come back, memory stays within kib, and a good client is served."""
    served(front, identity)
    before = descriptors_of(front), resident(front)
    yield
    assert settles(lambda: descriptors_of(front) <= before[0]), (descriptors_of(front), before)
    assert resident(front) < before[1] + kib, (resident(front), before)
    assert served(front, identity) < 2


def test_connect_and_close(pki, tmp_path):  # noqa: F811
    """3,000 connections that end at once, every third by a reset."""
    with front_of(pki, tmp_path) as front, front.answering(), leaves_nothing(front, pki["client"]):
        begun = time.monotonic()
        for n in range(3000):
            s = socket.create_connection(front.address, timeout=10)
            if not n % 3:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
        assert time.monotonic() - begun < 20


def failing(n, address, without, foreign):
    """A handshake that fails: no certificate, one of another CA, no TLS at all, TLS that breaks off."""
    with socket.create_connection(address, timeout=10) as plain, contextlib.suppress(ssl.SSLError, ConnectionError):
        if n % 4 < 2:
            with (foreign if n % 4 else without).wrap_socket(plain) as s:
                s.recv(1)
        elif n % 4 == 2:
            plain.sendall(GET)
            plain.recv(100)
        else:
            plain.sendall(b"\x16\x03\x01\x02\x00\x01\x00")


def test_failing_handshakes(pki, tmp_path):  # noqa: F811
    """500 of them become a few counts, and none is forgotten."""
    stranger = pki["other"].leaf("stranger")
    without, foreign = context(pki["ca"].pem), context(pki["ca"].pem, stranger)
    with front_of(pki, tmp_path) as front:
        before = descriptors_of(front), resident(front)
        begun = time.monotonic()
        for n in range(500):
            failing(n, front.address, without, foreign)
        took = time.monotonic() - begun
        frames = front.kinds(TLS_REFUSED, 2.5)
        assert took < 30 and sum(f.number(COUNT) for f in frames) == 500
        assert {"tls-no-certificate", "tls-untrusted", "tls-handshake"} <= {f.text(REASON) for f in frames}
        assert len(frames) <= 5 * (took + 3)
        assert settles(lambda: descriptors_of(front) <= before[0])
        assert resident(front) < before[1] + (24 << 10)
        with front.answering():
            assert served(front, pki["client"]) < 2


def test_reasons_outlive_the_parting(pki, tmp_path):  # noqa: F811
    """Strangers that stay for the second in which they may read why they were refused: displaced or late, they count as what they are."""
    stranger = pki["other"].leaf("lingering")
    with front_of(pki, tmp_path, "connections: 16, request_seconds: 1") as front:
        for wait in (0, 0.6):  # refused at once; and shortly before the time for a handshake is over
            counts, held = {}, [socket.create_connection(front.address) for _ in range(14)]
            time.sleep(wait)
            held = [context(pki["ca"].pem, stranger).wrap_socket(s) for s in held]
            if not wait:
                with crowd(front, pki) as good:
                    for _ in range(10):
                        good.secure("127.0.0.2")
            for f in front.kinds(TLS_REFUSED, 3):
                counts[f.text(REASON)] = counts.get(f.text(REASON), 0) + f.number(COUNT)
            assert counts == {"tls-untrusted": 14}
            for s in held:
                s.close()


ABUSE = {
    "a head without end": (431, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 200000),
    "a target without end": (431, b"GET /" + b"y" * 200000),
    "200 fields": (431, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(200)) + b"\r\n"),
    "chunked": (411, POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    "chunk extensions": (411, POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a=b;" * 40000),
    "chunked and a length": (411, POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "two lengths": (400, POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    "a negative length": (400, POST + b"Content-Length: -1\r\n\r\n"),
    "a length in hex": (400, POST + b"Content-Length: 0x10\r\n\r\n"),
    "a list of lengths": (400, POST + b"Content-Length: 5, 5\r\n\r\nhello"),
    "a length beyond the limit": (413, POST + b"Content-Length: 1000000000\r\n\r\n"),
    "an expectation beyond the limit": (413, POST + b"Expect: 100-continue\r\nContent-Length: 1000000000\r\n\r\n"),
}


def test_abuse_of_http(pki, tmp_path):  # noqa: F811
    """Each thirty times: answered or closed at once, nothing of it reaches the core, nothing stays."""
    with front_of(pki, tmp_path) as front, front.answering() as seen, leaves_nothing(front, pki["client"]):
        tls, before = context(pki["ca"].pem, pki["client"]), len(seen)
        for name, (status, data) in ABUSE.items():
            begun = time.monotonic()
            for n in range(30):
                with tls.wrap_socket(socket.create_connection(front.address, timeout=10)) as s:
                    with contextlib.suppress(ssl.SSLError, ConnectionError):
                        s.sendall(data)
                    assert answer(s)[0] == status, name
            assert time.monotonic() - begun < 5, name
        assert len(seen) == before


def test_expectations_that_nothing_follows(pki, tmp_path):  # noqa: F811
    with front_of(pki, tmp_path, "request_seconds: 1") as front, front.answering() as seen, leaves_nothing(front, pki["client"]), \
            crowd(front, pki) as bad:
        before = len(seen)
        for _ in range(100):
            bad.secure("127.0.0.1").sendall(POST + b"Expect: 100-continue\r\nContent-Length: 60000\r\n\r\n")
        for s in bad.held:
            assert s.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert answer(s)[0] == 408 and closed(s)
        assert len(seen) == before


def test_bodies_that_never_end(pki, tmp_path):  # noqa: F811
    """Clients that announce a whole body and vanish within it: 300 times 60,000 bytes are not kept."""
    with front_of(pki, tmp_path) as front, front.answering() as seen, leaves_nothing(front, pki["client"]):
        tls, before = context(pki["ca"].pem, pki["client"]), len(seen)
        for n in range(300):
            with tls.wrap_socket(socket.create_connection(front.address, timeout=10)) as s:
                s.sendall(POST + b"Content-Length: 60000\r\n\r\n" + b"x" * 59999)
        assert len(seen) == before


def test_signing_beside_a_full_table(own_kms, capsys):
    """Under the limits as they come: more slow connections than fit, renewed all the time, and a client that comes then and signs."""
    kms = own_kms
    quiet = sign_p99(kms, "com.example.calm", 250)
    with Crowd(kms.address("ci"), context(kms.ci_env["KMS_CACERT"], (kms.ci.cert, kms.ci.key))) as bad:
        for n in range(1100):
            bad.slow(n, f"127.0.4.{1 + n % 6}")

        def renew(_):
            for n in range(10000):
                if renewal.stopped.wait(0.02):
                    return
                bad.slow(n % 2, f"127.0.4.{1 + n % 6}")
                bad.held.pop(0).close()

        renewal = Threads(1, renew)
        with renewal:
            busy = sign_p99(kms, "com.example.storm", 250)
    with capsys.disabled():
        print(f"\n1,100 slow connections against 1,024: p99 {busy * 1e3:.1f} ms, quiet {quiet * 1e3:.1f} ms")
    assert busy < 5 * max(quiet, 0.01)


def test_refusals_are_counted_in_the_log(own_kms):
    """2,000 failing handshakes make the log grow by a few records, which say how many they were."""
    without = context(own_kms.ci_env["KMS_CACERT"])
    assert own_kms.sign("1.0.0").status == 200
    first, begun = len(own_kms.records()), time.monotonic()
    for n in range(2000):
        failing(2 + n % 2 if n % 10 else 0, own_kms.address("ci"), without, without)
    assert own_kms.sign("1.0.1").status == 200
    time.sleep(1.5)    # the last count is on its way for a second
    own_kms.stop()
    grown = own_kms.records()[first:]
    items = [i for r in grown if r["event"] == "refusal.summary" for i in r["detail"]["items"]]
    assert sum(i["count"] for i in items if i["reason"].startswith("tls-")) == 2000, items
    assert len(grown) <= 8 + (time.monotonic() - begun) / 20, [r["event"] for r in grown]
    own_kms.check_chain()
