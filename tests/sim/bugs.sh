#!/usr/bin/env bash
# Builds the core with one bug at a time and shows that the simulation finds each, with its seed.
set -eu
cd "$(dirname "$0")/../.."
out=build/bugs
mkdir -p "$out"
# name | file | sed expression that plants the bug
bugs='reply-before-sync|kmsd/core/commit.c|s/a->seq <= c->durable)/true)/
mark-moved-at-reservation|kmsd/core/sign.c|s/^    flight_begin(c, rq);/    flight_begin(c, rq);\n    struct mark *moved = (struct mark *)(uintptr_t)state_mark(c->state, rq->sign.app, rq->sign.channel);\n    if (moved) memcpy(moved->version, rq->sign.version, strlen(rq->sign.version) + 1);/
no-decide-again|kmsd/core/sign.c|/static int record_signature/,/^}/{s/if (!identify_again(c, rq, e))/if (0)/;s/verdict = decide(c, rq, &line, e);/verdict = 0;/}
snapshot-forgets-who-is-disabled|audit/state/snapshot.c|s/(int)i->enabled/1/
periods-on-the-wall-clock|kmsd/core/clock.c|s/c->clock.boot = boot_us;/c->clock.boot = c->now;/
steps-recorded-again|kmsd/core/clock.c|s/^    c->clock.offset = wall_us - boot_us;//'
found=0 total=0
while IFS='|' read -r name file edit; do
    total=$((total + 1))
    mkdir -p "$out/$name"
    sed "$edit" "$file" >"$out/$name/patched.c"
    if cmp -s "$file" "$out/$name/patched.c"; then
        echo "$name: the edit changes nothing in $file"
        exit 1
    fi
    gcc -std=c11 -D_GNU_SOURCE -I. -O1 -g -DKMSD_VERSION='"bug"' -c "$out/$name/patched.c" -o "$out/$name/patched.o"
    gcc -o "$out/$name/sim" build/obj/tests/sim/*.o "$out/$name/patched.o" -Wl,--start-group build/lib/libcore.a build/lib/libaudit.a build/lib/libpolicy.a \
        build/lib/libbase.a -Wl,--end-group -Wl,--allow-multiple-definition -lcrypto -ljansson -lfyaml -lpthread
    if "$out/$name/sim" 1 "${BUG_SEEDS:-2000}" 150 >"$out/$name/output" 2>&1; then
        echo "$name: NOT found in ${BUG_SEEDS:-2000} schedules"
    else
        found=$((found + 1))
        echo "$name: found: $(grep -m 1 -E '^seed|^scene|abort|Abort' "$out/$name/output" || echo 'the core stopped itself')"
    fi
done <<<"$bugs"
echo "$found of $total seeded bugs found"
[ "$found" = "$total" ]
