"""kms-audit and renewed certificates: who gets one, for which key, and whose it was."""
import pytest

import auditlog
from test_audit import check, keys, log, original  # noqa: F401
from test_audit_rules import found, one  # noqa: F401

RENEWING = auditlog.RULES.replace(b"allow: [sign]", b"allow: [sign, renew]") + b"# renewals\n"
GRANT = RENEWING.replace(b"renew, policy.apply", b"renew, identity.renew, policy.apply")


@pytest.fixture
def jobs(log):  # noqa: F811
    """A log in which jobs may renew, and people for others."""
    log.policy_apply(GRANT)
    return log


def test_a_job_keeps_its_key(jobs, tmp_path):
    jobs.renewed("again")
    assert found(jobs, tmp_path) == []
    jobs.sign("3.0.0", cert="again")
    assert found(jobs, tmp_path / "b") == []


def test_a_job_with_another_key(jobs, tmp_path):
    """Whoever took over a door could make the certificate of any job into one for a key of its own."""
    jobs.renewed("stolen")
    one(jobs, tmp_path, "another key")


def test_a_person_gives_a_job_another_key(jobs, tmp_path):
    jobs.renewed("stolen", person=True)
    assert found(jobs, tmp_path) == []


def test_a_certificate_that_names_somebody_else(jobs, tmp_path):
    jobs.renewed("named", person=True)
    one(jobs, tmp_path, "names another identity")


def test_a_certificate_twice(jobs, tmp_path):
    """What was issued once is not issued again: it may have been lost, and dropped for that."""
    jobs.renewed("job", person=True)
    one(jobs, tmp_path, "issued before")


def test_a_certificate_that_was_not_issued_here(jobs, tmp_path):
    """ci-spiffe is whoever a CA says it is; its certificates are none of this service."""
    jobs.renewed("again", actor=dict(jobs.ci(), name="ci-spiffe", cred="ab" * 32), name="ci-spiffe")
    kinds = [words for _, _, words in found(jobs, tmp_path)]
    assert any("did not issue" in words for words in kinds), kinds


def test_the_certificate_of_another_identity(jobs, tmp_path):
    """Whoever may act under a name of another CA does so with certificates of that CA, not with those that belong to somebody."""
    jobs.sign("3.0.0", actor=dict(jobs.ci(), name="ci-spiffe"))
    one(jobs, tmp_path, "belongs to identity ci-issued")


@pytest.mark.parametrize("dropped", [["job"], ["again"]])
def test_dropped_without_need(jobs, tmp_path, dropped):
    jobs.renewed("again")
    jobs.renewed("third", dropped=dropped)
    one(jobs, tmp_path, "drops")


def test_an_expired_certificate(log, tmp_path):  # noqa: F811
    log.sign("3.0.0", time="2046-01-01T00:00:00.000000Z")
    one(log, tmp_path, "had expired")
