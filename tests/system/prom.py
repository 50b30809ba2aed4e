"""A strict reader of Prometheus' text format, and what every set of metrics must be."""
import re
import shutil
import subprocess

NAME = r"[a-zA-Z_][a-zA-Z0-9_]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (-?[0-9]+(?:\.[0-9]+)?)")
LABEL = re.compile(rf'({NAME})="((?:[^"\\\n]|\\["\\n])*)"(,|$)')


def labels_of(text):
    found, at = {}, 0
    while at < len(text or ""):
        match = LABEL.match(text, at)
        assert match and match[1] not in found and (match[3] == "," or match.end() == len(text)), text
        found[match[1]] = match[2]
        at = match.end()
    return found


def base_of(name, kind):
    return re.sub(r"_(bucket|sum|count)$", "", name) if kind == "histogram" else name


class Metrics:
    """{(name, frozenset of labels): value}, read line by line; families in one piece, each sample once, histograms that add up."""

    def __init__(self, text):
        self.text, self.values, self.types, family = text, {}, {}, None
        assert text.endswith("\n") and "\r" not in text
        lines = text.splitlines()
        for number, line in enumerate(lines):
            if line.startswith("# HELP "):
                family = line.split(" ", 3)[2]
                assert family not in self.types and len(line.split(" ", 3)) == 4, line
                assert lines[number + 1].startswith(f"# TYPE {family} "), line
            elif line.startswith("# TYPE "):
                assert line.split()[2] == family
                self.types[family] = line.split()[3]
                assert self.types[family] in ("counter", "gauge", "histogram")
            else:
                match = SAMPLE.fullmatch(line)
                assert match, line
                key = match[1], frozenset(labels_of(match[2]).items())
                assert base_of(match[1], self.types[family]) == family and key not in self.values, line
                self.values[key] = float(match[3])
        self._check()

    def _check(self):
        for (name, labels), value in self.values.items():
            kind = self.types.get(base_of(name, "histogram"), self.types.get(name))
            assert kind != "counter" or name.endswith("_total") and value >= 0, name
            if kind == "histogram" and name.endswith("_count"):
                base = name.removesuffix("_count")
                buckets = [(dict(more)["le"], n) for (other, more), n in self.values.items() if other == base + "_bucket" and labels < more]
                counts = [n for _, n in buckets]
                bounds = [float(bound) for bound, _ in buckets]
                assert bounds == sorted(bounds) and counts == sorted(counts) and buckets[-1] == ("+Inf", value), name

    def get(self, name, **labels):
        return self.values[name, frozenset(labels.items())]

    def sum(self, name, **labels):
        return sum(value for (other, have), value in self.values.items() if other == name and labels.items() <= have)

    def series(self, name):
        return [dict(labels) for other, labels in self.values if other == name]


def promtool(text):
    """What Prometheus' own linter says; None = it is not installed."""
    if not shutil.which("promtool"):
        return None
    done = subprocess.run(["promtool", "check", "metrics"], input=text.encode(), capture_output=True, check=False)
    return (done.stdout + done.stderr).decode() + ("" if done.returncode == 0 else f"exit {done.returncode}")
