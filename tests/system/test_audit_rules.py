"""kms-audit against logs whose chain, lines and signatures are in order, and in which a service breaks its own rules."""
import pytest

from auditlog import sha256
from test_audit import check, keys, log, original  # noqa: F401


def found(log, folder):  # noqa: F811
    """(kind, first record, reason) of each finding."""
    report = check(log, folder)
    assert report["exit"] == (1 if report["findings"] else 0), report
    return [(f["kind"], f["records"][0], f["reason"]) for f in report["findings"]]


def one(log, folder, words):  # noqa: F811
    """The last record, and nothing else, is found to be invalid for that reason."""
    kind, seq, reason = only(found(log, folder))
    assert (kind, seq) == ("invalid", len(log.lines) - 1) and words in reason, reason


def only(findings):
    assert len(findings) == 1, findings
    return findings[0]


# Keys


def test_a_stopped_key_under_another_name(log, tmp_path):  # noqa: F811
    """The same key of the token, recorded again as a new one, would sign on."""
    log.life("compromise", "retired")
    log.key_result(log.key_intent("fresh", "03" * 16), log.keys.spki["release"])
    one(log, tmp_path, "public key")


@pytest.mark.parametrize("name", ["ca", "checkpoint"])
def test_a_key_for_other_purposes_as_a_release_key(log, tmp_path, name):  # noqa: F811
    spki = log.keys.spki["ca"] if name == "ca" else log.keys.spki["other"]
    log.key_result(log.key_intent("fresh", "03" * 16), spki)
    one(log, tmp_path, "public key")


# Releases


def test_one_release_twice(log, tmp_path):  # noqa: F811
    """Whoever asks again gets the answer of before, not a second signature."""
    log.sign("3.0.0")
    log.sign("3.0.0")
    one(log, tmp_path, "signed twice")


@pytest.mark.parametrize("head", [-1, 7])
def test_a_statement_older_than_what_it_binds(log, tmp_path, head):  # noqa: F811
    """A signature made today that says it was issued before the key was marked compromised, say."""
    log.sign("3.0.0", head=head % len(log.lines), issued=log.records[6]["time"])
    one(log, tmp_path, "issued")


def test_a_statement_as_old_as_what_it_binds(log, tmp_path):  # noqa: F811
    log.sign("3.0.0", head=7, issued=log.records[7]["time"])
    assert found(log, tmp_path) == []
