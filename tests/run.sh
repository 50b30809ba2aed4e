#!/usr/bin/env bash
# Runs the named parts of the tests (default: all) and ends with "N passed, N failed".
set -u
cd "$(dirname "$0")/.."
B=${B:-build}
parts=${*:-rules unit sim bugs fuzz system docs packaging}
passed=0 failed=0 names=
ok() { passed=$((passed + 1)); printf 'ok    %s\n' "$1"; }
bad() { failed=$((failed + 1)); names="$names $1"; printf 'FAIL  %s\n' "$1"; }
one() { # name, command...
    local name=$1 log=$B/test-log/${1//\//-}
    shift
    mkdir -p "$B/test-log"
    if "$@" >"$log" 2>&1; then ok "$name"; else bad "$name"; tail -n 40 "$log" | sed 's/^/      /'; fi
}
run_unit() { for t in tests/unit/test_*.c; do n=$(basename "$t" .c); one "unit/$n" timeout 120 "$B/tests/unit/$n"; done; }
# SIM_SEEDS schedules, a half in each of two processes, and the seeds that once found something.
run_sim() {
    local half=$((${SIM_SEEDS:-10000} / 2)) seed steps
    one sim/schedules tests/sim/halves.sh "$B/tests/sim/sim" "$half" 150
    grep -h '^simulation' "$B/test-log/sim-schedules"
    while read -r seed steps _; do
        [ "$seed" = '#' ] || one "sim/seed-$seed" "$B/tests/sim/sim" "$seed" 1 "$steps"
    done <tests/sim/seeds
}
run_bugs() { one sim/seeded-bugs timeout 600 tests/sim/bugs.sh; cat "$B/test-log/sim-seeded-bugs" 2>/dev/null; }
run_rules() { one rules tests/check-rules.sh "$B"; }
run_fuzz() {
    for f in tests/fuzz/fuzz_*.c; do
        n=$(basename "$f" .c)
        mkdir -p "$B/corpus/$n"
        one "fuzz/$n" timeout 120 "$B/fuzz/$n" -max_total_time="${FUZZ_SECONDS:-5}" -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$B/corpus/$n-" "$B/corpus/$n" $(ls -d "tests/fuzz/corpus/$n" 2>/dev/null)
    done
}
run_system() { run_pytest system 2400; }
run_docs() { run_pytest docs 300; }
run_packaging() { run_pytest packaging 900; }
number() { tail -n 1 "$1" | grep -oE "[0-9]+ $2" | grep -oE '[0-9]+' || echo 0; } # log, word of pytest's last line
# Tests of a whole service on a busy machine sometimes miss a deadline. A few that failed are run once more, by themselves, and named as such; one that
# fails again has failed.
run_pytest() { # folder of tests/, seconds
    local log=$B/test-log/$1 out f p
    local pytest=(/usr/bin/python3 -B -m pytest -q -o "cache_dir=$(realpath "$B")/pytest-cache-$1" --maxfail=60 -rfEs --tb=short "tests/$1")
    mkdir -p "$B/test-log"
    timeout "$2" "${pytest[@]}" >"$log" 2>&1
    out=$?
    tail -n 60 "$log"
    p=$(number "$log" passed)
    f=$(($(number "$log" failed) + $(number "$log" 'errors?')))
    if [ "$out" = 1 ] && [ "$f" -gt 0 ] && [ "$f" -le 5 ]; then
        echo "run again, by themselves: $(grep -E '^(FAILED|ERROR) ' "$log" | sed 's/ - .*//' | tr '\n' ' ')"
        timeout "$2" "${pytest[@]}" --last-failed --last-failed-no-failures none >"$log-again" 2>&1
        out=$?
        tail -n 40 "$log-again"
        p=$((p + $(number "$log-again" passed)))
        f=$(($(number "$log-again" failed) + $(number "$log-again" 'errors?')))
    fi
    [ "$out" = 0 ] || [ "$f" != 0 ] || f=1
    passed=$((passed + p))
    failed=$((failed + f))
}
for part in $parts; do "run_$part"; done
for name in $names; do # once more, where whoever sees only the end of this sees it
    echo "FAILED $name"
    tail -n 20 "$B/test-log/${name//\//-}" | cut -c -400 | sed 's/^/      /'
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
