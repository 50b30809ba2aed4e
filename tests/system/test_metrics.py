"""/metrics: well formed, bounded, and true."""
import os
import re
import shutil
import signal
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from apitest import new_source
from kms import ROOT, Instance, run
from prom import Metrics, promtool


@pytest.fixture(scope="module")
def kms(tmp_path_factory):
    """One of its own: what other tests leave behind would be warned of and counted."""
    with Instance(tmp_path_factory.mktemp("own") / "dir") as instance:
        yield instance


def scrape(kms):
    status, body = kms.health("/metrics")
    assert status == 200
    return Metrics(body.decode())


def counted(kms, action, name, **labels):
    """By how much a sample grows over an action."""
    before = scrape(kms).sum(name, **labels)
    action()
    return scrape(kms).sum(name, **labels) - before


def test_form(kms):
    metrics = scrape(kms)
    verdict = promtool(metrics.text)
    if verdict is None:
        pytest.skip("promtool is not installed")
    assert verdict == ""
    assert metrics.get("kmsd_up") == metrics.get("kmsd_ready") == 1
    assert [labels["version"] for labels in metrics.series("kmsd_build_info")] == [kms.request("ci", "GET", "/v1/status").json["version"]]
    assert kms.health("/metrics", "HEAD")[1] == b"" and kms.health("/metrics", "POST")[0] == 405


def test_requests(kms):
    app = f"com.example.metrics{time.time_ns()}"
    good = lambda: [kms.sign("1.0.0", app=app), kms.sign("1.0.0", app=app)]  # noqa: E731
    assert counted(kms, good, "kmsd_requests_total", door="ci", method="POST", route="/v1/sign", status="200") == 2
    assert counted(kms, lambda: kms.sign("0.9.0", app=app), "kmsd_refusals_total", problem="version-not-newer") == 1
    assert counted(kms, lambda: kms.sign("1.0.0", app="org.other"), "kmsd_decisions_total", decision="deny") == 1
    assert counted(kms, lambda: kms.sign("2.0.0", app=app), "kmsd_decisions_total", decision="allow") == 1
    assert counted(kms, lambda: kms.request("ci", "DELETE", "/v1/keys"), "kmsd_requests_total", status="405", route="none") == 1
    assert counted(kms, lambda: kms.request("admin", "GET", "/v1/identities/nobody-1"), "kmsd_requests_total", door="admin", status="404",
                   route="/v1/identities/{}") == 1
    assert counted(kms, lambda: kms.raw("ci", b"GET /v1/whoami HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), "kmsd_refusals_total", problem="bad-request") == 1


def test_no_label_grows(kms):
    """Whatever a caller makes up: paths, names, versions, addresses."""
    kms.request("ci", "GET", "/v1/whoami-0")
    kms.sign("x", app="org.other0")
    before = scrape(kms)
    for n in range(1, 12):
        kms.request("ci", "GET", f"/v1/whoami-{n}", source=new_source())
        kms.request("ci", f"X{n}", "/v1/whoami")
        kms.sign("x", app=f"org.other{n}")
        kms.request("ci", "GET", f"/v1/keys/k{n}")
    after = scrape(kms)
    assert len(after.values) - len(before.values) <= 2 and len(after.text) < 65536
    values = {value for _, labels in after.values for _, value in labels}
    assert not values & {kms.ci.name, kms.admin.name, kms.ci_env["KMS_APP"], kms.ci_env["KMS_SIGN_KEY"], "127.0.0.1", "org.other1", "k1"}


def test_tls_refusals(kms):
    def knock():
        with pytest.raises((ssl.SSLError, ConnectionError)):
            context = kms.context()
            with context.wrap_socket(__import__("socket").create_connection(kms.address("ci")), server_hostname=kms.address("ci")[0]) as peer:
                peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
                if not peer.recv(1):
                    raise ConnectionError
    before = scrape(kms).get("kmsd_tls_refusals_total", reason="tls-no-certificate")
    knock()
    kms.wait(lambda: scrape(kms).get("kmsd_tls_refusals_total", reason="tls-no-certificate") == before + 1, 5, "the count")


def test_stages(kms):
    app = f"com.example.stages{time.time_ns()}"
    before = scrape(kms)
    for n in range(3):
        assert kms.sign(f"1.0.{n}", app=app).status == 200
    after = scrape(kms)
    grown = {stage: [after.get(f"kmsd_sign_stage_seconds_{what}", stage=stage) - before.get(f"kmsd_sign_stage_seconds_{what}", stage=stage)
                     for what in ("count", "sum")] for stage in ("queue", "lane", "sync", "total")}
    assert [grown[stage][0] for stage in grown] == [3, 3, 3, 3]
    assert 0 < grown["lane"][1] < grown["total"][1] and 0 < grown["sync"][1] < grown["total"][1] < 5
    assert after.get("kmsd_signatures_total") - before.get("kmsd_signatures_total") == 3
    assert after.get("kmsd_log_groups_total") - before.get("kmsd_log_groups_total") == after.get("kmsd_log_sync_seconds_count") - before.get(
        "kmsd_log_sync_seconds_count") == 3


def test_log_and_keys(kms):
    kms.sign("1.0.0", app=f"com.example.head{time.time_ns()}")
    metrics = scrape(kms)
    records = kms.records()
    assert metrics.get("kmsd_log_head_seq") == records[-1]["seq"]
    assert metrics.get("kmsd_log_bytes") == sum(f.stat().st_size for f in (kms.dir / "audit").glob("*.jsonl"))
    keys = [r for r in records if r["event"] == "key.create" and r["outcome"] == "ok"]
    assert metrics.get("kmsd_keys", state="active") == metrics.get("kmsd_token_keys", found="present") == len(keys)
    assert metrics.sum("kmsd_identities") == len([r for r in records if r["event"] == "identity.create" and r["outcome"] == "ok"]) + 1
    end = run("openssl", "x509", "-in", kms.dir / "tls/server.pem", "-noout", "-enddate", "-dateopt", "iso_8601").stdout.decode().strip()
    end = time.strptime(end.removeprefix("notAfter="), "%Y-%m-%d %H:%M:%SZ")
    for door in ("ci", "admin"):
        assert time.gmtime(metrics.get("kmsd_certificate_end_timestamp_seconds", certificate=f"server-{door}"))[:6] == end[:6]
    assert metrics.get("kmsd_certificate_end_timestamp_seconds", certificate="ca") > time.time()


def test_many_scrapers(kms):
    """All are answered, and the core is not asked more than ten times a second."""
    begun = time.monotonic()
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: kms.health("/metrics"), range(80)))
    assert all(status == 200 and b"kmsd_up 1\n" in body for status, body in answers)
    assert len({body for _, body in answers}) <= 2 + 10 * (time.monotonic() - begun)


def test_a_token_that_is_away(own_kms):
    kms = own_kms
    store, away = kms.dir / "tokens/keys/store", kms.dir / "tokens/keys/away"
    store.rename(away)
    kms.wait(lambda: scrape(kms).get("kmsd_token_breaker_open", role="sign") == 1, 10, "the breaker")
    metrics = scrape(kms)
    assert metrics.get("kmsd_ready") == 0 and metrics.get("kmsd_lanes", role="sign", state="ready") == 0
    assert metrics.get("kmsd_lanes", role="sign", state="away") >= 1 and metrics.get("kmsd_child_ends_total", role="lane-sign") >= 1
    assert kms.sign("1.0.0").status == 503 and scrape(kms).get("kmsd_refusals_total", problem="token-unavailable") == 1
    away.rename(store)
    kms.wait(lambda: scrape(kms).get("kmsd_ready") == 1, 15, "the token back")
    assert scrape(kms).get("kmsd_token_breaker_open", role="sign") == 0


def test_a_silent_core(own_kms):
    """The door tells that the core is down, and does not wait for it."""
    kms = own_kms
    kms.wait(lambda: scrape(kms).get("kmsd_ready") == 1, 10, "readiness")
    core = kms.child("kmsd-core")
    os.kill(core, signal.SIGSTOP)
    timer = threading.Timer(8, os.kill, (core, signal.SIGCONT))
    timer.start()
    try:
        begun = time.monotonic()
        metrics = scrape(kms)
        assert metrics.values == {("kmsd_up", frozenset()): 0} and 1 < time.monotonic() - begun < 4
        assert kms.health("/healthz")[0] == 200
    finally:
        timer.cancel()
        os.kill(core, signal.SIGCONT)
    kms.wait(lambda: scrape(kms).get("kmsd_up") == 1, 5, "the core again")
    assert scrape(kms).get("kmsd_log_records_total") > 0


def test_the_rules_of_the_handbook(kms, tmp_path):
    """They parse, and speak of metrics that exist."""
    text = (ROOT / "docs/operations.md").read_text()
    rules = text[text.index("groups:\n"):text.index("```", text.index("groups:\n"))]
    (tmp_path / "rules.yml").write_text(rules)
    if shutil.which("promtool"):
        run("promtool", "check", "rules", tmp_path / "rules.yml")
    known = {name for name, _ in scrape(kms).values}
    named = set(re.findall(r"kmsd_[a-z_]+", text[text.index("## Monitoring"):]))
    assert len(named) > 10 and all(name in known or name + "_bucket" in known for name in named), named - known
