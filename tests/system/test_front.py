"""The doors under bad manners: certificates, TLS versions, request smuggling, slow and oversized requests."""
import datetime
import json
import socket
import ssl
import subprocess
import time

import pytest

from load import at_once

GOOD = b"GET /v1/whoami HTTP/1.1\r\nHost: kms\r\n\r\n"


def tls(kms, cert=None, key=None, version=ssl.TLSVersion.TLSv1_3, door="ci"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(kms.ci_env["KMS_CACERT"])
    context.maximum_version = version
    if cert:
        context.load_cert_chain(cert, key)
    sock = socket.create_connection(kms.address(door), timeout=10)
    return context.wrap_socket(sock, server_hostname="localhost")


def good_tls(kms, door="ci"):
    return tls(kms, kms.ci_env["KMS_CERT"], kms.ci_env["KMS_KEY"], door=door)


def talk(kms, data, door="ci", pause=0.0):
    """Everything the door says to these bytes until it closes or falls silent."""
    with good_tls(kms, door) as s:
        for part in data if isinstance(data, list) else [data]:
            s.sendall(part)
            time.sleep(pause)
        return read_all(s)


def read_all(s, silence=3):
    s.settimeout(silence)
    answer = b""
    try:
        while part := s.recv(65536):
            answer += part
    except (TimeoutError, ConnectionResetError):
        return answer, False
    return answer, True


def statuses(answer):
    return [int(line.split()[1]) for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


def one_answer(s, seen=b""):
    """Status of the next answer on a live connection, and what came behind it."""
    s.settimeout(10)
    while b"\r\n\r\n" not in seen:
        seen += s.recv(65536)
    head, rest = seen.split(b"\r\n\r\n", 1)
    length = int(next(line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")))
    while len(rest) < length:
        rest += s.recv(65536)
    return int(head.split()[1]), rest[length:]


def openssl(*argv, cwd):
    subprocess.run(["openssl", *argv], cwd=cwd, check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    where = tmp_path_factory.mktemp("ca")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "other.key", "-out", "other.pem", "-subj", "/CN=other",
            "-days", "10", cwd=where)
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=leaf", cwd=where)
    (where / "eku.cnf").write_text("extendedKeyUsage=clientAuth\n")
    openssl("x509", "-req", "-in", "leaf.csr", "-CA", "other.pem", "-CAkey", "other.key", "-CAcreateserial", "-days", "5", "-extfile", "eku.cnf", "-out", "leaf.pem",
            cwd=where)
    return where


def refused_in_handshake(connect):
    """TLS 1.3: the client may learn of it with its first read."""
    try:
        with connect() as s:
            s.sendall(GOOD)
            return s.recv(4096) == b""
    except (ssl.SSLError, ConnectionError):
        return True


def test_no_certificate(kms):
    assert refused_in_handshake(lambda: tls(kms))


def test_foreign_ca(kms, ca):
    assert refused_in_handshake(lambda: tls(kms, ca / "leaf.pem", ca / "leaf.key"))


def test_self_signed(kms, ca):
    assert refused_in_handshake(lambda: tls(kms, ca / "other.pem", ca / "other.key"))


def test_server_certificate_is_no_client_certificate(kms):
    assert refused_in_handshake(lambda: tls(kms, kms.dir / "tls/server.pem", kms.dir / "tls/server.key"))


def test_kmsctl_says_at_once_that_its_certificate_is_refused(kms, ca):
    """An alert, and not a connection that just ends: that would read like a service that restarts, and be tried again for seconds."""
    texts = {(ca / "leaf.pem", ca / "leaf.key"): "it was not issued by a CA that the service trusts",
             (kms.dir / "tls/server.pem", kms.dir / "tls/server.key"): "it is not one for clients"}
    for (cert, key), text in texts.items():
        for _ in range(20):
            done = kms.kmsctl("whoami", env={**kms.ci_env, "KMS_CERT": str(cert), "KMS_KEY": str(key)}, check=False)
            said = done.stderr.decode()
            assert done.returncode == 3 and f"refused the client certificate: {text}" in said and "trying again" not in said, said


def test_tls_1_2(kms):
    with pytest.raises((ssl.SSLError, ConnectionError)):
        tls(kms, kms.ci_env["KMS_CERT"], kms.ci_env["KMS_KEY"], version=ssl.TLSVersion.TLSv1_2)


def test_plain_http(kms):
    with socket.create_connection(kms.address("ci"), timeout=5) as s:
        s.sendall(GOOD)
        assert not s.recv(4096).startswith(b"HTTP/1.1 200")


@pytest.fixture(scope="module")
def trusting(tmp_path_factory, ca):
    """An instance whose doors also trust the test CA, for certificates that only fail in their own fields."""
    import kms as kms_module
    with kms_module.Instance(tmp_path_factory.mktemp("trusting") / "dir") as instance:
        instance.stop()
        settings = instance.dir / "kmsd.yaml"
        settings.write_text(settings.read_text().replace("[tls/ca.pem]", f"[tls/ca.pem, {ca}/other.pem]"))
        instance.start()
        yield instance


def leaf(ca, name, extensions, start=0, end=5):
    now = datetime.datetime.now(datetime.timezone.utc)
    (ca / "ext.cnf").write_text(extensions)
    (ca / "ca.cnf").write_text(
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nserial=serial.txt\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n")
    (ca / "index.txt").write_text("")
    (ca / "serial.txt").write_text("%02x\n" % (abs(hash(name)) % 200 + 16))
    stamp = [(now + datetime.timedelta(days=d)).strftime("%Y%m%d%H%M%SZ") for d in (start, end)]
    openssl("ca", "-batch", "-config", "ca.cnf", "-cert", "other.pem", "-keyfile", "other.key", "-in", "leaf.csr", "-out", name, "-extfile", "ext.cnf", "-startdate",
            stamp[0], "-enddate", stamp[1], "-notext", cwd=ca)
    return ca / name


CLIENT = "extendedKeyUsage=clientAuth\n"


@pytest.mark.parametrize("name,extensions,start,end", [
    ("expired.pem", CLIENT, -10, -1), ("early.pem", CLIENT, 2, 5), ("noeku.pem", "keyUsage=digitalSignature\n", -1, 5),
    ("servereku.pem", "extendedKeyUsage=serverAuth\n", -1, 5)])
def test_trusted_but_unfit(trusting, ca, name, extensions, start, end):
    cert = leaf(ca, name, extensions, start, end)
    assert refused_in_handshake(lambda: tls(trusting, cert, ca / "leaf.key"))


def test_trusted_and_fit_but_unknown(trusting, ca):
    cert = leaf(ca, "fit.pem", CLIENT, -1, 5)
    with tls(trusting, cert, ca / "leaf.key") as s:
        s.sendall(GOOD)
        assert b"HTTP/1.1 403" in s.recv(65536)


BODY = b'{"key":"x"}'
SMUGGLING = {
    "two lengths": b"POST /v1/sign HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 11\r\n\r\n" + BODY,
    "same length twice": b"POST /v1/sign HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nContent-Length: 11\r\n\r\n" + BODY,
    "list of lengths": b"POST /v1/sign HTTP/1.1\r\nHost: a\r\nContent-Length: 11, 11\r\n\r\n" + BODY,
    "signed length": b"POST /v1/sign HTTP/1.1\r\nHost: a\r\nContent-Length: +11\r\n\r\n" + BODY,
    "space before colon": b"POST /v1/sign HTTP/1.1\r\nHost: a\r\nContent-Length : 11\r\n\r\n" + BODY,
    "bare LF": b"GET /v1/whoami HTTP/1.1\nHost: a\n\n",
    "bare LF in a field": b"GET /v1/whoami HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
    "bare CR": b"GET /v1/whoami HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",
    "folded line": b"GET /v1/whoami HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
    "NUL in a field": b"GET /v1/whoami HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n",
    "NUL in the target": b"GET /v1/who\0ami HTTP/1.1\r\nHost: a\r\n\r\n",
    "two hosts": b"GET /v1/whoami HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "no host": b"GET /v1/whoami HTTP/1.1\r\nX: y\r\n\r\n",
    "percent NUL": b"GET /v1/whoami%00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "dot segment": b"GET /v1/../v1/whoami HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute target": b"GET https://a/v1/whoami HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/1.0": b"GET /v1/whoami HTTP/1.0\r\nHost: a\r\n\r\n",
    "two spaces": b"GET  /v1/whoami HTTP/1.1\r\nHost: a\r\n\r\n",
    "empty line first": b"\r\nGET /v1/whoami HTTP/1.1\r\nHost: a\r\n\r\n",
    "high bytes": b"GET /v1/whoami HTTP/1.1\r\nHost: a\r\nX: \xff\r\n\r\n",
    "two idempotency keys": b"POST /v1/sign HTTP/1.1\r\nHost: a\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 11\r\n\r\n" + BODY,
    "garbage": bytes(range(1, 200)) + b"\r\n\r\n",
}


@pytest.mark.parametrize("case", SMUGGLING)
def test_smuggling(kms, case):
    answer, closed = talk(kms, SMUGGLING[case])
    assert statuses(answer) == [400] and closed, answer
    assert b"urn:kmsd:problem:bad-request" in answer


@pytest.mark.parametrize("head", [b"Transfer-Encoding: chunked\r\n", b"Content-Length: 11\r\nTransfer-Encoding: chunked\r\n", b"transfer-encoding: identity\r\n"])
def test_transfer_encoding(kms, head):
    answer, closed = talk(kms, b"POST /v1/sign HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n5\r\nhello\r\n0\r\n\r\n")
    assert statuses(answer) == [411] and closed, answer


def test_byte_by_byte_is_judged_alike(kms):
    for case in ("two hosts", "bare LF", "folded line"):
        answer, closed = talk(kms, [SMUGGLING[case][n:n + 1] for n in range(len(SMUGGLING[case]))])
        assert statuses(answer) == [400] and closed


def test_good_then_bad_on_one_connection(kms):
    with good_tls(kms) as s:
        s.sendall(GOOD)
        assert one_answer(s) == (200, b"")
        s.sendall(SMUGGLING["two lengths"])
        answer, closed = read_all(s)
        assert statuses(answer) == [400] and closed


def test_rest_of_a_bad_request_is_no_request(kms):
    answer, closed = talk(kms, SMUGGLING["two lengths"] + GOOD + GOOD)
    assert statuses(answer) == [400] and closed


def test_pipelined(kms):
    with good_tls(kms) as s:
        s.sendall(GOOD * 5)
        rest = b""
        for _ in range(5):
            status, rest = one_answer(s, rest)
            assert status == 200
        assert rest == b""


def test_huge_head(kms):
    answer, closed = talk(kms, b"GET /v1/whoami HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20000 + b"\r\n\r\n")
    assert statuses(answer) == [431] and closed


def test_many_fields(kms):
    answer, closed = talk(kms, b"GET /v1/whoami HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 100 + b"\r\n")
    assert statuses(answer) == [431] and closed


def test_huge_body_is_refused_from_its_length(kms):
    answer, closed = talk(kms, b"POST /v1/sign HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n")
    assert statuses(answer) == [413] and closed


def test_expect_continue(kms):
    with good_tls(kms) as s:
        s.sendall(b"POST /v1/sign HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n")
        assert b" 100 " in s.recv(4096)
        s.sendall(BODY)
        assert b"HTTP/1.1 400" in s.recv(65536)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory):
    import kms as kms_module
    with kms_module.Instance(tmp_path_factory.mktemp("impatient") / "dir") as instance:
        instance.stop()
        settings = instance.dir / "kmsd.yaml"
        settings.write_text(settings.read_text() + "limits: {request_seconds: 2, connections: 40, connections_per_peer: 30}\n")
        instance.start()
        yield instance


def lives(s, drip, seconds):
    """How long the connection lives when a byte comes every 0.2 s."""
    begun = time.monotonic()
    s.settimeout(0.2)
    for n in range(int(seconds / 0.2)):
        try:
            s.sendall(drip[n % len(drip):n % len(drip) + 1])
            if s.recv(4096) == b"":
                break
        except TimeoutError:
            continue
        except (ssl.SSLError, ConnectionError):
            break
    return time.monotonic() - begun


@pytest.mark.parametrize("start", [b"GET /v1/whoami HTTP/1.1\r\nX: ", b"POST /v1/sign HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n"])
def test_slow_request_is_cut(impatient, start):
    with good_tls(impatient) as s:
        s.sendall(start)
        assert lives(s, b"aaaa", 8) < 5


def test_half_open_handshake_is_cut(impatient):
    with socket.create_connection(impatient.address("ci"), timeout=8) as s:
        s.sendall(b"\x16\x03\x01\x02")
        begun = time.monotonic()
        assert s.recv(100) == b"" or True
        assert time.monotonic() - begun < 6


def test_connection_limit_and_recovery(impatient):
    held = []
    try:
        for _ in range(60):
            try:
                held.append(socket.create_connection(impatient.address("ci"), timeout=2))
            except OSError:
                break
        time.sleep(3.5)
        with good_tls(impatient) as s:
            s.sendall(GOOD)
            assert b" 200 " in s.recv(65536)
    finally:
        for s in held:
            s.close()


def test_client_that_leaves_while_it_waits(kms):
    """The answer to a vanished client harms nobody."""
    body = json.dumps({"key": "release", "app": "com.example.leave", "channel": "beta", "version": "1.0.0", "digest": {"alg": "sha256", "hex": "0" * 64}}).encode()
    for n in range(50):
        s = good_tls(kms)
        s.sendall(b"POST /v1/sign HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        s.close()
    with good_tls(kms) as s:
        s.sendall(GOOD)
        assert b" 200 " in s.recv(65536)


def test_many_at_once(kms):
    good = []

    def one(_):
        with good_tls(kms) as s:
            for _ in range(5):
                s.sendall(GOOD)
                if one_answer(s)[0] == 200:
                    good.append(1)

    at_once(40, one)
    assert len(good) == 200
