"""The benchmark measures what it says: a short run, without a judgement on speed."""
import json
import os
import sys

from kms import BUILD, ROOT, run

MEMBERS = {"baseline_sign_verify_per_s", "raw_sign_per_s", "singles_64_per_s", "singles_64_of_baseline", "batch_64_of_baseline", "rsa4096_of_raw", "p50_1_of_sum",
           "copies_singles_64_of_baseline", "cpu_us_per_signature_64", "syncs_per_signature_64", "newconn_per_s", "newconn_share",
           "audit_full_of_sum", "spread", "runs"}


def test_short_run(tmp_path):
    out = tmp_path / "bench.json"
    done = run(sys.executable, "-B", ROOT / "tests" / "bench" / "bench.py", "--scale", "0.1", "--runs", "2", "--out", out,
                   env={**os.environ, "KMSD_BUILD": str(BUILD)}, timeout=120)
    got = json.loads(out.read_text())
    assert MEMBERS <= set(got)
    assert got["errors"] == 0 and len(got["runs"]) == 2
    for name in ("raw_sign_per_s", "baseline_sign_verify_per_s", "singles_64_per_s", "singles_64_of_baseline", "p50_1_of_sum", "newconn_per_s"):
        assert got[name] > 0, name
    assert got["batch_64_of_baseline"] > 0 and got["rsa4096_of_raw"] > 0
    assert 0 < got["syncs_per_signature_64"] < 1 and got["records_per_group_64"] >= 1
    assert got["nosync_p50_1_us"] is None or got["nosync_p50_1_us"] > 0
    assert got["cpu_us_per_signature_64"] > got["cpu_us_by_process_64"]["lanes"] > 10
    assert abs(sum(got["newconn_share"].values()) - 1) < 0.02
    assert b"of B" in done.stdout
    assert got["audit_signatures"] > 100 and got["audit_full_of_sum"] > 0
    assert min(got["audit_full_us"], got["audit_raw_us"], got["audit_chain_us"]) > 0


def load(kms, *options):
    host, port = kms.address("ci")
    done = run(BUILD / "tests" / "bench" / "load", "--host", host, "--port", port, "--ca", kms.env["KMS_CACERT"], "--cert", kms.ci.cert,
                   "--key", kms.ci.key, "--warmup-ms", 0, *options)
    return json.loads(done.stdout.splitlines()[-1])


def test_every_signature_that_is_counted_is_in_the_log(kms):
    got = load(kms, "--connections", 4, "--measure-ms", 400, "--app", "com.example.counted")
    signed = [r for r in kms.records(event="sign.release", outcome="ok") if r["artifact"]["app"].startswith("com.example.counted.")]
    # What was asked for and not answered when the time was over may be signed too: one a connection.
    assert got["errors"] == 0 and got["signatures"] > 0
    assert got["signatures"] <= len(signed) <= got["signatures"] + 4


def test_what_is_refused_is_no_signature(kms):
    got = load(kms, "--connections", 1, "--measure-ms", 200, "--app", "org.example.refused")
    assert got["signatures"] == 0 and got["errors"] > 0
    assert "forbidden" in got["first_error"]
