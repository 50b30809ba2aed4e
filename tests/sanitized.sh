#!/usr/bin/env bash
# sanitized.sh BUILD TEST...: system tests with the programs of an instrumented build. What a program wrote to the log of its instance counts too,
# for a service that is started again after a report goes on as if nothing had been.
set -u
cd "$(dirname "$0")/.."
build=$PWD/$1
shift
scratch=$(mktemp -d /tmp/kmsd-sanitized.XXXXXX)
# A test's own clock is loaded before the sanitizer's library; and nothing is as fast as the tests of a plain build want it.
# Leaks are looked for in the unit tests and the simulation: the service's processes let nobody attach to them, which the search needs.
export KMSD_BUILD=$build ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=0:abort_on_error=1:verify_asan_link_order=0} UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-second_deadlock_stack=1} KMS_BACK=${KMS_BACK:-5}
# An instrumented build has no sandbox, which forbids what the instrumentation does: tests of the sandbox say nothing here. One test empties the
# environment, options included, and meets a leak inside SoftHSM; opencryptoki's daemon does not take an instrumented process.
timeout "${SANITIZED_SECONDS:-2400}" /usr/bin/python3 -B -m pytest -q -p no:cacheprovider -rfEs --tb=short --basetemp="$scratch/t" \
    --ignore=tests/system/test_walls.py --deselect=tests/system/test_secrecy.py::test_processes_cannot_be_read_by_their_own_user \
    -k 'not opencryptoki and not OpenCryptoki' "$@"
failed=$?
/usr/bin/python3 - "$scratch" <<'END' || failed=1
import pathlib, re, sys
# From the first line of a report to its last. None are a fault that a test's own PKCS#11 module makes on purpose, and what a sanitizer says when it ends a
# process whose memory a test has taken away.
REPORT = re.compile(r"(?:==\d+==ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|\S+: runtime error:).*?(?:SUMMARY: [^\n]*|==\d+==ABORTING|\Z)", re.S)
found = 0
for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.log")):
    for report in REPORT.findall(path.read_text(errors="replace")):
        if "tests/token/shim.c" not in report and not ("test_no_memory" in str(path) and re.search("failed to allocate|out of memory", report)):
            found += 1
            print(f"== {path}\n{report[:4000]}")
print(f"{found} sanitizer reports")
sys.exit(found > 0)
END
[ "$failed" = 0 ] && rm -rf "$scratch" || echo "kept for a look: $scratch"
exit "$failed"
