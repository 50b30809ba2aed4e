#!/usr/bin/env bash
# Builds the programs with one bug at a time and shows what finds each: the simulation, with its seed, or a unit test.
set -eu
cd "$(dirname "$0")/../.."
out=build/bugs
mkdir -p "$out"
# name | file | sed expression that plants the bug
bugs='reply-before-sync|kmsd/core/commit.c|s/a->seq <= c->durable)/true)/
mark-moved-at-reservation|kmsd/core/sign.c|s/^    flight_begin(c, rq);/    flight_begin(c, rq);\n    struct mark *moved = (struct mark *)(uintptr_t)state_mark(c->state, rq->sign.app, rq->sign.channel);\n    if (moved) memcpy(moved->version, rq->sign.version, strlen(rq->sign.version) + 1);/
no-decide-again|kmsd/core/sign.c|/static int record_signature/,/^}/{s/if (!identify_again(c, rq, e) || authorise([^)]*))/if (0)/;s/verdict = decide(c, rq, &stored, e);/verdict = 0;/}
snapshot-forgets-who-is-disabled|audit/state/snapshot.c|s/(int)i->enabled/1/
batch-weighs-nothing-while-its-answer-waits|kmsd/core/commit.c|s/1 + batch_size(rq->items)/1/
groups-wait-for-ever|kmsd/core/gather.c|s/g->since + most > boot_us/most/;s/return g->since + most - boot_us/return most/
lone-records-wait|kmsd/core/gather.c|s/records < lanes_outstanding(c)/records <= lanes_outstanding(c) + 1/
crowds-are-not-seen|kmsd/core/gather.c|s/PART . records < lately/false/
readers-are-waited-for|kmsd/core/commit.c|s/a->counts = .*/a->counts = true;/
crowds-are-remembered|kmsd/core/gather.c|s/^    if (boot_us - g->began < PERIOD_US)/    if (boot_us)/
items-in-others-places|kmsd/core/batch.c|s/&b->answer\[item->index\]/\&b->answer[b->n - 1 - item->index]/
one-key-for-all-items|kmsd/core/batch.c|s/b->rq->idem, n)/b->rq->idem, 0)/
periods-on-the-wall-clock|kmsd/core/clock.c|s/c->clock.boot = boot_us;/c->clock.boot = c->now;/
steps-recorded-again|kmsd/core/clock.c|s/^    c->clock.offset = wall_us - boot_us;//
key-not-looked-at-again|kmsd/core/sign.c|/^static int decide/,/^}/s/if (keylife_usable(k, e))/if (!rq->input.len \&\& keylife_usable(k, e))/
compromised-answers-given|kmsd/core/sign.c|/^static int consider/,/^}/s/if (k && keylife_usable(k, e))/if (0)/
lanes-keep-a-stopped-key|kmsd/core/keylife.c|/^static void tell_lanes/,/^}/s/lanes_unload_key(c, k)/(void)0/
removed-before-the-log-says-so|kmsd/core/erase.c|s/.. after_call(c, erase, NULL)) {/|| (erase(c, NULL), 0)) {/
a-start-trusts-its-clock|kmsd/core/erase.c|s/>= SETTLE_TIME/>= 0/
removal-forgotten-by-a-restart|kmsd/core/erase.c|s/return k->erase_seq ||/return k->erase_seq == 0 \&\&/
removed-while-the-clock-is-in-doubt|kmsd/core/clock.c|/^bool clock_steady/,/^}/s/return .*/return off >= 0 || off < 0;/
search-answered-to-whoever-asked|kmsd/core/reader.c|s/if (r->asked\[n\].id == f->id) {/if (f->id \&\& f->id <= r->next_id) {/
reader-told-of-what-is-not-on-disk|kmsd/core/reader.c|s/frame_put_u64(&frame, TAG_HEAD, c->durable);/frame_put_u64(\&frame, TAG_HEAD, c->state->chain.next_seq);/
searches-wait-for-ever|kmsd/core/reader.c|s/if (c->clock.boot >= r->asked\[n\].deadline) {/if (0) {/
reader-believed-where-it-stands|kmsd/core/reader.c|s/ || frame_u64(f, TAG_HEAD) > c->durable)/)/
nonsense-kept-for-an-answer|kmsd/core/reader.c|s/^            r->asked\[r->n_asked++\] = (struct core_ask){f->id, rq, 0};.*//'
# Compiles the file with the bug in it.
plant() { # name file edit
    mkdir -p "$out/$1"
    sed "$3" "$2" >"$out/$1/patched.c"
    if cmp -s "$2" "$out/$1/patched.c"; then
        echo "$1: the edit changes nothing in $2"
        exit 1
    fi
    compile "$out/$1/patched.c" "$out/$1/patched.o"
}
compile() { gcc -std=c11 -D_GNU_SOURCE -I. -O1 -g -DKMSD_VERSION='"bug"' $(pkg-config --cflags p11-kit-1) -c "$1" -o "$2"; }
libraries='-Wl,--start-group build/lib/libcore.a build/lib/libaudit.a build/lib/libpolicy.a build/lib/libbase.a -Wl,--end-group -Wl,--allow-multiple-definition'
found=0 total=0
while IFS='|' read -r name file edit; do
    total=$((total + 1))
    plant "$name" "$file" "$edit"
    gcc -o "$out/$name/sim" build/obj/tests/sim/*.o "$out/$name/patched.o" $libraries -lcrypto -ljansson -lfyaml -lpthread
    if "$out/$name/sim" 1 "${BUG_SEEDS:-2000}" 150 >"$out/$name/output" 2>&1; then
        echo "$name: NOT found in ${BUG_SEEDS:-2000} schedules"
    else
        found=$((found + 1))
        echo "$name: found: $(grep -m 1 -E '^seed|^scene|abort|Abort' "$out/$name/output" || echo 'the core stopped itself')"
    fi
done <<<"$bugs"
# name | file | unit test | its objects in build/obj | sed expression: what no simulation reaches, the disk and the token, unit tests find
token='kmsd/settings'
for file in kmsd/token/*.c; do # all but the programs' own beginnings and the file with the bug
    case $file in */main.c | */lane.c | */verbs.c | */sign.c) ;; *) token="$token ${file%.c}" ;; esac
done
bugs='torn-tail-trusted|audit/logread.c|test_logdir||s/if (ftruncate(s->fd, (off_t)good) || fsync(s->fd))/if (fsync(s->fd))/
line-without-end-taken|audit/logread.c|test_logdir||/^static int read_records/,/^}/{s/: 0);/: s->size - at);/;s/= end ? next_record(p, line, why) : NULL/= next_record(p, line, why)/}
damage-taken-for-torn|audit/logread.c|test_logdir||/^static bool looks_torn/,/^}/s/return false/return true/
handle-reused-after-relogin|kmsd/token/sign.c|test_token_epoch|TOKEN|/^int key_resolve/,/^}/s/if (k->epoch == t->epoch)/if (k->handle)/
told-before-the-sync|kmsd/core/io/disk.c|test_disk|DISK|s/^    bool failed = d->failed/    report(d, true, d->failed, \&room, \&e);\n&/;s/report(d, true, failed,/report(d, false, failed,/
blobs-behind-their-lines|kmsd/core/io/disk.c|test_disk|DISK|/^static int write_group/,/^}/{s/^    for/    if (logdir_append(\&d->log, d->group.first_seq, buf_span(d->group.lines), e))\n        return -1;\n&/;s/return logdir_append.*/return 0;/}
write-error-swallowed|kmsd/core/io/disk.c|test_disk|DISK|s/write_group(d, &e) ||/(write_group(d, \&e), false) ||/
group-after-a-failed-one|kmsd/core/io/disk.c|test_disk|DISK|s/= d->failed || write_group/= write_group/'
while IFS='|' read -r name file test objects edit; do
    total=$((total + 1))
    more=
    case $objects in
    TOKEN) objects=$token ;;
    DISK) objects="kmsd/core/io/disk kmsd/core/io/keeper" more="-D_GNU_SOURCE -I. tests/unit/diskcalls.c $(sed -n 's/^UNIT_LIBS_test_disk := //p' tests/unit/objects.mk)" ;;
    esac
    plant "$name" "$file" "$edit"
    compile "tests/unit/$test.c" "$out/$name/test.o"
    gcc -o "$out/$name/$test" "$out/$name/test.o" "$out/$name/patched.o" $(printf 'build/obj/%s.o ' $objects tests/longlog/records) $more $libraries -lcmocka -lp11 -lp11-kit -ldl \
        -lcrypto -ljansson -lfyaml -lpthread
    if timeout 60 "$out/$name/$test" >"$out/$name/output" 2>&1; then
        echo "$name: NOT found by $test"
    elif grep -q 'FAILED TEST' "$out/$name/output"; then
        found=$((found + 1))
        echo "$name: found by $test: $(grep -m 1 -oE '^\[  FAILED  \] [a-z_]+$' "$out/$name/output" | cut -c 14-)"
    else
        echo "$name: $test did not run to its end"
    fi
done <<<"$bugs"
echo "$found of $total seeded bugs found"
[ "$found" = "$total" ]
