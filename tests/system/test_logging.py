"""The operational messages of all processes: one event a line, in the form and from the level that the settings ask for."""
import json
import re

import pytest

from kms import Instance

FIELD = re.compile(r'([a-z0-9_]+)=("(?:[^"\\]|\\["\\]|\\x[0-9a-f]{2})*"|[^ "=\\]+)(?: |$)')


def fields(line):
    """A line of logfmt, read strictly."""
    found, at = {}, 0
    while at < len(line):
        match = FIELD.match(line, at)
        assert match and match[1] not in found, line
        found[match[1]] = match[2].strip('"')
        at = match.end()
    return found


def messages(kms, since):
    lines = (kms.dir / "kmsd.log").read_text()[since:].splitlines()
    return [line for line in lines if not line.startswith("kmsd dev:")]


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_every_line(tmp_path, form):
    """Start, a lane killed, a token away, a refused door, stop: whatever is said is well formed, and holds no secret."""
    kms = Instance(tmp_path / "dir")
    with kms:
        pass
    settings = kms.dir / "kmsd.yaml"
    settings.write_text(settings.read_text() + f"log: {{format: {form}}}\n")
    before = len((kms.dir / "kmsd.log").read_text())
    with kms:
        kms.kill(kms.lanes()[0])
        assert kms.sign("1.0.0").status == 200
        (kms.dir / "tokens/keys/store").rename(kms.dir / "tokens/keys/away")
        kms.wait(lambda: b"the token is away" in kms.health()[1], 10, "the token away")
        (kms.dir / "tokens/keys/away").rename(kms.dir / "tokens/keys/store")
        kms.wait(lambda: kms.health()[0] == 200, 15, "the token back")
    lines = [json.loads(line) if form == "json" else fields(line) for line in messages(kms, before)]
    assert len(lines) > 10 and all({"time", "program", "level", "event"} <= set(line) for line in lines)
    assert {"kmsd", "kmsd-core", "kmsd-front", "kmsd-reader", "kmsd-token"} == {line["program"] for line in lines}
    assert {"ready", "sandbox", "child", "lane-away"} <= {line["event"] for line in lines}
    assert {"info", "warning"} <= {line["level"] for line in lines} <= {"info", "warning", "error"}
    for pin in ("pin-keys", "pin-checkpoint"):
        assert (kms.dir / pin).read_text().strip() not in (kms.dir / "kmsd.log").read_text()


def test_level(tmp_path):
    kms = Instance(tmp_path / "dir")
    with kms:
        pass
    settings = kms.dir / "kmsd.yaml"
    settings.write_text(settings.read_text() + "log: {level: error}\n")
    before = len((kms.dir / "kmsd.log").read_text())
    with kms:
        assert kms.sign("1.0.0").status == 200
    assert messages(kms, before) == []
