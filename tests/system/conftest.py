"""Fixtures of the system tests."""
import pytest

from kms import BIN, Instance


@pytest.fixture(scope="session")
def kms(tmp_path_factory):
    """The instance that most tests share: each uses channels, names and source addresses of its own."""
    assert (BIN / "kmsd").exists(), "run make first"
    with Instance(tmp_path_factory.mktemp("kms") / "dir") as instance:
        yield instance


@pytest.fixture
def stopped(tmp_path):
    """An instance that has signed and does not run."""
    kms = Instance(tmp_path / "dir")
    with kms:
        assert kms.sign("1.0.0").status == 200
    return kms


@pytest.fixture
def own_kms(tmp_path):
    """An instance for one test that stops, fills or locks it."""
    with Instance(tmp_path / "dir") as instance:
        yield instance
