"""A front by itself: kmsd-front between real TLS clients and a core played by this test, which sees every frame and answers when it likes."""
import contextlib
import datetime
import os
import select
import socket
import ssl
import struct
import subprocess
import time

import pytest

from kms import BUILD
from load import Threads, at_once

FRONT = BUILD / "libexec/kmsd/kmsd-front"
REQUEST, TLS_REFUSED, HTTP_REFUSED, REPLY, HELLO = 1, 2, 3, 4, 5
METHOD, TARGET, SOURCE, CERT, BODY, IDEMPOTENCY, KMS_SIGNATURE, CONTENT_TYPE, STATUS, LOCATION, RETRY_AFTER, REQUEST_ID, COUNT, REASON = range(1, 15)
CODE = 31
GET = b"GET /v1/whoami HTTP/1.1\r\nHost: kms\r\n\r\n"


def openssl(*argv, cwd):
    subprocess.run(["openssl", *map(str, argv)], cwd=cwd, check=True, capture_output=True, timeout=60)


class Authority:
    """A CA, and certificates with whatever is wrong with them."""

    def __init__(self, where):
        self.where = where
        where.mkdir()
        (where / "ca.cnf").write_text("[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\nunique_subject=no\n"
                                      "[p]\ncommonName=supplied\n")
        (where / "index").write_text("")
        (where / "serial").write_text("1000\n")
        self.key("ca", "ec")
        openssl("req", "-x509", "-key", "ca.key", "-out", "ca.pem", "-subj", f"/CN={where.name}", "-days", "10", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                cwd=where)
        self.pem = where / "ca.pem"

    def key(self, name, kind):
        how = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else ["-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{kind}"]
        openssl("genpkey", *how, "-out", f"{name}.key", cwd=self.where)

    def leaf(self, name, extensions="extendedKeyUsage=clientAuth\n", start=-1, end=5, kind="ec"):
        self.key(name, kind)
        (self.where / "ext.cnf").write_text(extensions)
        now = datetime.datetime.now(datetime.timezone.utc)
        stamp = [(now + datetime.timedelta(days=d)).strftime("%Y%m%d%H%M%SZ") for d in (start, end)]
        openssl("req", "-new", "-key", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}", cwd=self.where)
        openssl("ca", "-batch", "-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key", "-in", f"{name}.csr", "-out", f"{name}.pem", "-extfile", "ext.cnf",
                "-startdate", stamp[0], "-enddate", stamp[1], "-notext", cwd=self.where)
        return self.where / f"{name}.pem", self.where / f"{name}.key"


class Frame:
    def __init__(self, kind, number, fields):
        self.kind, self.id, self.fields = kind, number, fields

    def text(self, tag):
        return self.fields[tag].decode()

    def number(self, tag):
        return struct.unpack(">Q", self.fields[tag])[0]


def encode(kind, number, fields):
    body = struct.pack(">BQ", kind, number)
    for tag, value in fields.items():
        value = struct.pack(">Q", value) if isinstance(value, int) else value
        body += struct.pack(">BI", tag, len(value)) + value
    return struct.pack(">I", len(body)) + body


class Front:
    """The program, its listening socket, and the core's end of its pipe."""

    def __init__(self, directory, authority, server, limits="", door="ci"):
        directory.mkdir()
        (directory / "kmsd.yaml").write_text(
            "version: 1\ninstance: dev.test\nlisten: {ci: '127.0.0.1:1', admin: '127.0.0.1:2'}\n"
            f"tls:\n  certificate: {server[0]}\n  key: {server[1]}\n  client_ca: [{authority.pem}]\n"
            "tokens:\n  lock: l\n  keys: {module: m, label: k, pin_file: p}\n  checkpoint: {module: m, label: c, pin_file: q}\naudit: {directory: a}\n"
            f"limits: {{{limits}}}\n")
        self.authority = authority
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address = self.listening.getsockname()
        self.pipe, theirs = socket.socketpair()
        self.pipe.settimeout(10)
        self.buffer = b""
        low = [os.dup2(theirs.fileno(), 60), os.dup2(self.listening.fileno(), 61)]
        argv = [FRONT, "--settings", directory / "kmsd.yaml", "--door", door, "--parent", str(os.getpid())]
        script = 'exec 3<&60 4<&61 60<&- 61<&-; exec "$@"'
        self.process = subprocess.Popen(["bash", "-c", script, "front", *map(str, argv)], pass_fds=low, stderr=subprocess.PIPE)
        for fd in low:
            os.close(fd)
        theirs.close()

    def frame(self, timeout=10):
        """The next frame, None at the end of the stream or when none comes in time."""
        until = time.monotonic() + timeout
        while True:
            if len(self.buffer) >= 4:
                size = struct.unpack(">I", self.buffer[:4])[0]
                if len(self.buffer) >= 4 + size:
                    whole, self.buffer = self.buffer[4:4 + size], self.buffer[4 + size:]
                    return self.decode(whole)
            if not select.select([self.pipe], [], [], max(0, until - time.monotonic()))[0]:
                return None
            got = self.pipe.recv(1 << 16)
            if not got:
                return None
            self.buffer += got

    @staticmethod
    def decode(whole):
        kind, number = struct.unpack(">BQ", whole[:9])
        fields, rest = {}, whole[9:]
        while rest:
            tag, size = struct.unpack(">BI", rest[:5])
            assert tag not in fields and len(rest) >= 5 + size
            fields[tag], rest = rest[5:5 + size], rest[5 + size:]
        return Frame(kind, number, fields)

    def request(self, timeout=10):
        """The next REQUEST; counts that come between are left out."""
        while (f := self.frame(timeout)) and f.kind != REQUEST:
            pass
        return f

    def reply(self, frame, status=200, body=b"{}", **more):
        fields = {STATUS: status, REQUEST_ID: b"%032x" % frame.id, BODY: body, CONTENT_TYPE: b"application/json"}
        self.pipe.sendall(encode(REPLY, frame.id, fields | more.get("fields", {})))

    @contextlib.contextmanager
    def answering(self, delay=0.0):
        """A core that says yes to everything, in a thread of its own; yields the requests it saw."""
        seen = []

        def run(_):
            while not threads.stopped.is_set():
                if (f := self.frame(0.1)) and f.kind == REQUEST:
                    seen.append(f)
                    time.sleep(delay)
                    self.reply(f, body=f.fields[TARGET])

        threads = Threads(1, run)
        with threads:
            yield seen

    def connect(self, identity, version=ssl.TLSVersion.TLSv1_3):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.authority.pem)
        context.check_hostname = False
        context.maximum_version = version
        context.set_ciphers("ALL:@SECLEVEL=0")
        if identity:
            context.load_cert_chain(*identity)
        return context.wrap_socket(socket.create_connection(self.address, timeout=10))

    def kinds(self, kind, seconds=2.5):
        """All frames of a kind that come within the time."""
        found, until = [], time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if (f := self.frame(left)) and f.kind == kind:
                found.append(f)
        return found

    def alive(self):
        return self.process.poll() is None

    def end(self):
        self.pipe.close()
        self.listening.close()
        try:
            return self.process.wait(10)
        finally:
            self.process.kill()
            self.process.stderr.close()


def answer(s, seen=b""):
    """Status, head, body of the next answer, and what came behind it."""
    while b"\r\n\r\n" not in seen:
        part = s.recv(65536)
        assert part, "the connection ended within an answer"
        seen += part
    head, rest = seen.split(b"\r\n\r\n", 1)
    fields = {k.lower(): v.strip() for k, _, v in (line.partition(b":") for line in head.split(b"\r\n")[1:])}
    size = int(fields.get(b"content-length", 0))
    while len(rest) < size:
        part = s.recv(65536)
        assert part, "the connection ended within an answer"
        rest += part
    return int(head.split()[1]), fields, rest[:size], rest[size:]


def closed(s, seconds=5):
    s.settimeout(seconds)
    try:
        return s.recv(4096) == b""
    except (ssl.SSLError, ConnectionError) as e:
        return not isinstance(e, TimeoutError)
    except TimeoutError:
        return False


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    where = tmp_path_factory.mktemp("pki")
    made = {"ca": Authority(where / "ca"), "other": Authority(where / "other")}
    made["server"] = made["ca"].leaf("server", "extendedKeyUsage=serverAuth\nsubjectAltName=IP:127.0.0.1\n", -1, 5)
    made["client"] = made["ca"].leaf("client")
    return made


@pytest.fixture
def door(pki, tmp_path, request):
    limits = getattr(request, "param", "")
    front = Front(tmp_path / "front", pki["ca"], pki["server"], limits)
    assert front.frame().kind == HELLO
    yield front
    assert front.alive(), front.process.stderr.read()
    assert front.end() == 0


SLOW = pytest.mark.parametrize("door", ["request_seconds: 1"], indirect=True)


# What a request becomes


def test_request_and_reply(door, pki):
    with door.connect(pki["client"]) as s:
        s.sendall(b"POST /v1/sign?x=%41&y HTTP/1.1\r\nhost: kms\r\nContent-Type: application/json \r\nIDEMPOTENCY-KEY:\t k-1\r\nKms-Signature: c2ln\r\n"
                  b"X-Other: o\r\nContent-Length: 4\r\n\r\n{\"\0}")
        f = door.request()
        der = ssl.PEM_cert_to_DER_cert(pki["client"][0].read_text())
        assert f.fields == {METHOD: b"POST", TARGET: b"/v1/sign?x=%41&y", SOURCE: b"127.0.0.1", CERT: der, BODY: b'{"\0}', IDEMPOTENCY: b"k-1", KMS_SIGNATURE: b"c2ln",
                            CONTENT_TYPE: b"application/json"}
        door.reply(f, 202, b'{"a":1}', fields={LOCATION: b"/v1/x", RETRY_AFTER: 7})
        status, head, body, rest = answer(s)
        assert (status, body, rest) == (202, b'{"a":1}', b"")
        assert head[b"x-request-id"] == b"%032x" % f.id and head[b"location"] == b"/v1/x" and head[b"retry-after"] == b"7"
        assert head[b"cache-control"] == b"no-store" and head[b"content-type"] == b"application/json"
        assert s.session is None or not s.session.has_ticket


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "DELETE", "PATCH", "FROB"])
def test_methods_pass_through(door, pki, method):
    with door.connect(pki["client"]) as s:
        s.sendall(f"{method} /v1/x HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        f = door.request()
        assert f.text(METHOD) == method and BODY not in f.fields
        door.reply(f, 405, b"body")
        s.settimeout(0.5)
        data = b""
        with contextlib.suppress(TimeoutError):
            while part := s.recv(65536):
                data += part
        assert data.startswith(b"HTTP/1.1 405") and data.endswith(b"\r\n\r\n" if method == "HEAD" else b"body")


def test_the_longest_target_with_the_most_parameters(door, pki):
    target = b"/v1/keys?" + b"&".join([b"a"] * 63) + b"&"
    target += b"a" * (2048 - len(target))
    fields = b"".join(b"X-%d: %s\r\n" % (n, b"v" * 60) for n in range(63))
    with door.connect(pki["client"]) as s:
        s.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")
        f = door.request()
        assert f.fields[TARGET] == target
        door.reply(f)
        assert answer(s)[0] == 200


def records(s):
    """The lengths of the TLS records that hold an answer, as they come."""
    seen = []
    s.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        while part := s.recv(1 << 16):
            seen.append(len(part))
    return seen


def test_a_small_answer_is_one_record(door, pki):
    with door.connect(pki["client"]) as s:
        for size in (1, 100, 5000):
            s.sendall(b"GET /v1/x HTTP/1.1\r\nHost: a\r\n\r\n")
            door.reply(door.request(), body=b"b" * size)
            assert len(records(s)) == 1


@pytest.mark.parametrize("size", [0, 1, 16000, 16383, 16384, 16385, 40000, 300000])
def test_answers_of_every_size_arrive_whole(door, pki, size):
    body = bytes(range(256)) * (size // 256) + b"z" * (size % 256)
    with door.connect(pki["client"]) as s:
        rest = b""
        for method in (b"GET", b"HEAD", b"GET"):
            s.sendall(method + b" /v1/x HTTP/1.1\r\nHost: a\r\n\r\n")
            door.reply(door.request(), body=body)
            if method == b"HEAD":
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += s.recv(1)
                continue
            status, _, got, rest = answer(s, rest)
            assert status == 200 and got == body and rest == b""


def test_pipelined_requests_come_one_by_one_in_order(door, pki):
    with door.connect(pki["client"]) as s:
        s.sendall(b"".join(b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n%02d" % (n, n) for n in range(20)))
        rest = b""
        for n in range(20):
            f = door.request()
            assert f.text(TARGET) == f"/{n}" and f.text(BODY) == f"{n:02d}"
            door.reply(f, body=b"%d" % n)
            status, _, body, rest = answer(s, rest)
            assert (status, body) == (200, b"%d" % n)


def test_expect_continue(door, pki):
    with door.connect(pki["client"]) as s:
        for size in (0, 5):
            s.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % size)
            seen = s.recv(4096) if size else b""
            if size:
                assert seen == b"HTTP/1.1 100 Continue\r\n\r\n"
                s.sendall(b"hello")
            f = door.request()
            assert f.fields.get(BODY, b"") == b"hello"[:size]
            door.reply(f)
            status, _, body, rest = answer(s)
            if status == 100:
                status, _, body, rest = answer(s, rest)
            assert (status, rest) == (200, b"")


def test_many_pipelines_at_once(door, pki):
    """Connections that go on after a wait lose none of the requests that came meanwhile."""
    good = []

    def one(n):
        with door.connect(pki["client"]) as s:
            s.sendall(b"".join(b"POST /%d/%d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" % (n, m) for m in range(20)))
            rest = b""
            for m in range(20):
                status, _, body, rest = answer(s, rest)
                good.append(status == 200 and body == b"/%d/%d" % (n, m))

    with door.answering() as seen:
        at_once(30, one)
    assert len(good) == 600 and all(good) and all(f.fields[BODY] == b"abc" for f in seen)


def test_good_requests_before_a_bad_one_are_answered(door, pki):
    """What came before the bad head is judged by itself, also when all of it arrives in one record."""
    with door.connect(pki["client"]) as s, door.answering() as seen:
        s.sendall(GET + GET + b"GET /x HTTP/1.1\nHost: a\n\n" + GET)
        one = answer(s)
        two = answer(s, one[3])
        three = answer(s, two[3])
        assert [one[0], two[0], three[0]] == [200, 200, 400] and closed(s)
    assert len(seen) == 2


def test_200_at_once(door, pki):
    good = []

    def one(n):
        with door.connect(pki["client"]) as s:
            for m in range(2):
                s.sendall(b"GET /%d/%d HTTP/1.1\r\nHost: a\r\n\r\n" % (n, m))
                status, _, body, _ = answer(s)
                good.append(status == 200 and body == b"/%d/%d" % (n, m))

    with door.answering() as seen:
        at_once(200, one)
    assert len(good) == 400 and all(good) and len({f.id for f in seen}) == 400


# Certificates


CLIENT = "extendedKeyUsage=clientAuth\n"
UNFIT = {
    "expired": ("tls-expired", dict(start=-9, end=-1)),
    "early": ("tls-not-yet-valid", dict(start=2, end=5)),
    "no-usage": ("tls-wrong-purpose", dict(extensions="keyUsage=digitalSignature\n")),
    "server-usage": ("tls-wrong-purpose", dict(extensions="extendedKeyUsage=serverAuth\n")),
    "any-usage": ("tls-wrong-purpose", dict(extensions="extendedKeyUsage=anyExtendedKeyUsage\n")),
    "is-a-ca": ("tls-wrong-purpose", dict(extensions=CLIENT + "basicConstraints=critical,CA:TRUE\n")),
    "rsa-1024": ("tls-untrusted", dict(kind="1024")),
}


def refused(door, identity, version=ssl.TLSVersion.TLSv1_3):
    try:
        with door.connect(identity, version) as s:
            s.sendall(GET)
            assert closed(s)
    except (ssl.SSLError, ConnectionError):
        pass


@pytest.mark.parametrize("name", UNFIT)
def test_unfit_certificate(door, pki, name):
    reason, how = UNFIT[name]
    refused(door, pki["ca"].leaf(name, **how))
    f = door.frame(4)
    assert f.kind == TLS_REFUSED and (f.text(REASON), f.number(COUNT)) == (reason, 1)


TOLD = {"expired": "CERTIFICATE_EXPIRED", "early": "CERTIFICATE_EXPIRED", "server-usage": "UNSUPPORTED_CERTIFICATE", "none": "CERTIFICATE_REQUIRED",
        "foreign": "UNKNOWN_CA"}


@pytest.mark.parametrize("name", TOLD)
def test_the_peer_learns_why(door, pki, name):
    """An alert that is there to be read although a request is on its way already; the connection is closed a moment later, whether its peer closes it or not."""
    of = {"none": lambda: None, "foreign": lambda: pki["other"].leaf("stranger")}.get(name) or (lambda: pki["ca"].leaf(f"told-{name}", **UNFIT[name][1]))
    identity, before = of(), len(os.listdir(f"/proc/{door.process.pid}/fd"))
    for _ in range(20):
        with door.connect(identity) as s, pytest.raises(ssl.SSLError, match=TOLD[name]):
            s.sendall(GET)
            s.sendall(GET)
            s.recv(1)
    silent = [door.connect(identity) for _ in range(5)]
    until = time.monotonic() + 10
    while len(os.listdir(f"/proc/{door.process.pid}/fd")) > before and time.monotonic() < until:
        time.sleep(0.05)
    assert len(os.listdir(f"/proc/{door.process.pid}/fd")) <= before
    for s in silent:
        s.close()
    assert sum(f.number(COUNT) for f in door.kinds(TLS_REFUSED, 1.5)) == 25


def test_fit_rsa_certificate(door, pki):
    with door.connect(pki["ca"].leaf("rsa2048", kind="2048")) as s, door.answering():
        s.sendall(GET)
        assert answer(s)[0] == 200


def test_other_refusals_of_the_handshake(door, pki):
    refused(door, None)
    refused(door, pki["other"].leaf("foreign"))
    refused(door, (pki["other"].pem, pki["other"].where / "ca.key"))
    refused(door, pki["client"], ssl.TLSVersion.TLSv1_2)
    with socket.create_connection(door.address) as s:
        s.sendall(GET)
    socket.create_connection(door.address).close()
    counts = {}
    for f in door.kinds(TLS_REFUSED):
        counts[f.text(REASON)] = counts.get(f.text(REASON), 0) + f.number(COUNT)
    assert counts == {"tls-no-certificate": 1, "tls-untrusted": 1, "tls-wrong-purpose": 1, "tls-version": 1, "tls-handshake": 1, "tls-aborted": 1}


def test_refusals_are_sent_once_a_second(door):
    begun = time.monotonic()
    for _ in range(60):
        refused(door, None)
    took = time.monotonic() - begun
    frames = door.kinds(TLS_REFUSED)
    assert sum(f.number(COUNT) for f in frames) == 60 and len(frames) <= took + 3


# Heads that are refused


BAD = {
    "two lengths": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
    "length and coding": (411, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "space before colon": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc"),
    "bare LF": (400, b"GET / HTTP/1.1\nHost: a\n\n"),
    "obs-fold": (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"),
    "NUL": (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
    "two hosts": (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    "no host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "percent NUL": (400, b"GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n"),
    "percent NUL in the query": (400, b"GET /a?b=%00 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "bad escape": (400, b"GET /a%4 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "trailing dots": (400, b"GET /a/.. HTTP/1.1\r\nHost: a\r\n\r\n"),
    "trailing dot": (400, b"GET /a/. HTTP/1.1\r\nHost: a\r\n\r\n"),
    "dots before the query": (400, b"GET /a/..?b HTTP/1.1\r\nHost: a\r\n\r\n"),
    "escaped dots": (400, b"GET /a/%2e%2E/b HTTP/1.1\r\nHost: a\r\n\r\n"),
    "empty segment": (400, b"GET //a HTTP/1.1\r\nHost: a\r\n\r\n"),
    "signature twice": (400, b"GET / HTTP/1.1\r\nHost: a\r\nKms-Signature: a\r\nkms-signature: a\r\n\r\n"),
    "type twice": (400, b"GET / HTTP/1.1\r\nHost: a\r\nContent-Type: a\r\ncontent-type: a\r\n\r\n"),
    "HTTP/2 preface": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "long target": (400, b"GET /" + b"a" * 2048 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "large head": (431, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 8200 + b"\r\n\r\n"),
    "65 fields": (431, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: x\r\n" * 64 + b"\r\n"),
    "large body": (413, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n" + b"x" * 65537),
    "immense body": (413, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n"),
    "length beyond 64 bits": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n"),
}


@pytest.fixture(scope="module")
def shared(pki, tmp_path_factory):
    front = Front(tmp_path_factory.mktemp("shared") / "front", pki["ca"], pki["server"])
    assert front.frame().kind == HELLO
    yield front
    assert front.alive() and front.end() == 0


@pytest.mark.parametrize("name", BAD)
def test_bad_head(shared, pki, name):
    status, data = BAD[name]
    with shared.connect(pki["client"]) as s:
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            s.sendall(data)
        got, head, body, _ = answer(s)
        assert got == status and head[b"content-type"] == b"application/problem+json" and head[b"x-request-id"].startswith(b"front-"), body
        assert head[b"connection"] == b"close" and b'"status":%d' % status in body and closed(s)
    f = shared.frame()
    assert f.kind == HTTP_REFUSED and f.text(SOURCE) == "127.0.0.1" and f.number(CODE)


def test_largest_body_passes(door, pki):
    with door.connect(pki["client"]) as s:
        s.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n" + b"x" * 65536)
        f = door.request()
        assert len(f.fields[BODY]) == 65536
        door.reply(f)
        assert answer(s)[0] == 200


def test_flood_after_a_bad_head_holds_nobody(door, pki):
    with door.connect(pki["client"]) as bad, door.connect(pki["client"]) as good, door.answering():
        def flood(_):
            with contextlib.suppress(OSError):
                bad.sendall(b"GET / HTTP/1.1\n\n")
                while not threads.stopped.is_set():
                    bad.sendall(b"x" * 65536)

        threads = Threads(1, flood)
        with threads:
            for _ in range(10):
                good.sendall(GET)
                assert answer(good)[0] == 200


# Time


def survives(s, seconds, drip=b""):
    begun = time.monotonic()
    s.settimeout(0.1)
    while time.monotonic() - begun < seconds:
        try:
            if drip:
                s.sendall(drip)
            if s.recv(4096) == b"":
                return time.monotonic() - begun
        except TimeoutError:
            continue
        except (ssl.SSLError, ConnectionError):
            return time.monotonic() - begun
    return seconds


@SLOW
@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nX: ", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n"])
def test_slow_request(door, pki, start):
    with door.connect(pki["client"]) as s:
        s.sendall(start)
        assert survives(s, 5, b"x") < 2.5
    f = door.frame()
    assert f.kind == HTTP_REFUSED


@SLOW
def test_second_request_has_its_own_deadline(door, pki):
    """The first byte of the next request may come with the last one of this: it too has request_seconds, not the idle time."""
    with door.connect(pki["client"]) as s:
        s.sendall(GET + b"GET /slow HTTP/1.1\r\n")
        f = door.request()
        time.sleep(1.5)
        door.reply(f)
        assert answer(s)[0] == 200
        assert survives(s, 5, b"x") < 2.5


@SLOW
def test_idle_connection_outlives_the_request_deadline(door, pki):
    """Idle is not slow: neither before the first request nor between two, and its end is no refusal."""
    with door.connect(pki["client"]) as s:
        assert survives(s, 2.5) == 2.5
        s.settimeout(10)
        with door.answering():
            s.sendall(GET)
            assert answer(s)[0] == 200
            time.sleep(2)
            s.sendall(GET)
            assert answer(s)[0] == 200
    assert not door.kinds(HTTP_REFUSED, 1.5)


@SLOW
def test_core_may_take_longer_than_a_request(door, pki):
    with door.connect(pki["client"]) as s:
        s.sendall(GET)
        f = door.request()
        time.sleep(2.5)
        door.reply(f)
        assert answer(s)[0] == 200


@SLOW
def test_slow_handshake(door):
    with socket.create_connection(door.address) as s:
        s.sendall(b"\x16\x03\x01")
        assert survives(s, 5) < 2.5
    f = door.frame(4)
    assert f.kind == TLS_REFUSED and f.text(REASON) == "tls-timeout"


# Who vanishes


def test_client_vanishes(door, pki):
    """Replies to clients that left harm nobody, nor do replies that come twice."""
    frames = []
    for n in range(20):
        s = door.connect(pki["client"])
        s.sendall(GET)
        frames.append(door.request())
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)) if n % 2 else None
        s.close()
    time.sleep(0.3)
    for f in frames + frames[:3]:
        door.reply(f)
    with door.connect(pki["client"]) as s, door.answering():
        s.sendall(GET)
        assert answer(s)[0] == 200


def test_client_that_does_not_read(door, pki):
    with door.connect(pki["client"]) as s:
        s.sendall(GET)
        door.reply(door.request(), body=b"x" * (2 << 20 >> 1))
        with door.connect(pki["client"]) as other, door.answering():
            other.sendall(GET)
            assert answer(other)[0] == 200
        assert len(answer(s)[2]) == 1 << 20


def test_core_goes(pki, tmp_path):
    front = Front(tmp_path / "front", pki["ca"], pki["server"])
    assert front.frame().kind == HELLO
    with front.connect(pki["client"]) as s:
        s.sendall(GET)
        assert front.request()
        front.pipe.close()
        assert front.process.wait(5) == 0
    front.end()


@pytest.mark.parametrize("data", [encode(REPLY, 99, {STATUS: 200, REQUEST_ID: b"x"}), encode(HELLO, 0, {}), b"\xff\xff\xff\xff", encode(REPLY, 1, {})])
def test_nonsense_from_the_core_ends_the_front(pki, tmp_path, data):
    front = Front(tmp_path / "front", pki["ca"], pki["server"])
    assert front.frame().kind == HELLO
    front.pipe.sendall(data)
    assert front.process.wait(5) == 0
    front.end()


# Limits


@pytest.mark.parametrize("door", ["connections_per_peer: 4"], indirect=True)
def test_connections_of_one_peer(door, pki):
    held = [door.connect(pki["client"]) for _ in range(4)]
    refused(door, pki["client"])
    for s in held:
        s.close()
    time.sleep(0.3)
    with door.connect(pki["client"]) as s, door.answering():
        s.sendall(GET)
        assert answer(s)[0] == 200


def test_core_that_does_not_read(door, pki):
    """Bounded: what the core has not taken fills up to a limit, then clients hear 503 at once."""
    busy, socks = 0, []
    data = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60000
    try:
        for n in range(200):
            s = door.connect(pki["client"])
            socks.append(s)
            s.sendall(data)
        for s in socks:
            s.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                status, head, body, _ = answer(s)
                assert status == 503 and head[b"retry-after"] == b"1" and b":busy" in body
                busy += 1
    finally:
        for s in socks:
            s.close()
    assert 20 < busy < 120
    status, until = 503, time.monotonic() + 10
    with door.answering():
        while status == 503 and time.monotonic() < until:  # what piled up has to be read first
            with door.connect(pki["client"]) as s:
                s.sendall(GET)
                status = answer(s)[0]
    assert status == 200


@pytest.mark.parametrize("setting,words", [("client_ca", b"CA"), ("certificate", b"certificate"), ("key", b"key")])
def test_unusable_files_are_named(pki, tmp_path, setting, words):
    bad = tmp_path / "bad.pem"
    bad.write_text("no PEM\n")
    bad.chmod(0o600)
    server = (bad if setting == "certificate" else pki["server"][0], bad if setting == "key" else pki["server"][1])
    ca = type("CA", (), {"pem": bad})() if setting == "client_ca" else pki["ca"]
    front = Front(tmp_path / "front", ca, server)
    assert front.process.wait(5) == 78
    text = front.process.stderr.read()
    assert str(bad).encode() in text and words in text
    front.end()


@pytest.mark.parametrize("kind", ["ec", 2048])
def test_key_of_another_certificate(pki, tmp_path, kind):
    """With it kmsd would start, and fail every handshake."""
    certificate, _ = pki["ca"].leaf("swapped-1", kind=kind)
    _, key = pki["ca"].leaf("swapped-2")
    front = Front(tmp_path / "front", pki["ca"], (certificate, key))
    assert front.process.wait(5) == 78
    text = front.process.stderr.read()
    assert str(key).encode() in text and str(certificate).encode() in text and b"is not that of" in text
    front.end()
