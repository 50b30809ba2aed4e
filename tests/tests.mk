# How the project is prepared, demonstrated and tested.

DEPS := gcc make pkg-config libc6-dev libssl-dev libjansson-dev libfyaml-dev libmicrohttpd-dev libgnutls28-dev libp11-dev libp11-kit-dev libcurl4-openssl-dev libseccomp-dev libsqlite3-dev \
  scdoc softhsm2 openssl openssh-client ca-certificates
DEPS_TEST := libcmocka-dev python3 python3-pytest python3-yaml opensc curl zip procps clang libclang-rt-14-dev valgrind strace \
  swtpm swtpm-tools libtpm2-pkcs11-1 libtpm2-pkcs11-tools tpm2-tools tpm2-abrmd libtss2-tcti-tabrmd0 dbus opencryptoki libnss3 libnss3-tools xfsprogs e2fsprogs libcap2-bin iproute2 systemd g++ groff-base \
  dpkg-dev debhelper fakeroot lintian mmdebstrap systemd-container prometheus

deps:
	@packaging/deps.sh $(DEPS)
deps-test: deps
	@packaging/deps.sh $(DEPS_TEST)

demo: deps
	@$(MAKE) --no-print-directory all
	@tests/demo.sh

# The library objects are made again in the same run: a stale build is no evidence.
test: deps-test
	@$(MAKE) --no-print-directory all unit-programs sim-program longlog-program fuzz-programs token-modules bench-programs
	@tests/run.sh

unit-programs: $(UNIT)
test-unit: $(UNIT)
	@tests/run.sh unit
test-system: all longlog-program token-modules bench-programs
	@tests/run.sh system
# What the documents tell their readers to type, typed.
test-docs: all
	@tests/run.sh docs
# The Debian packages, installed on a clean machine.
test-package: all
	@packaging/deps.sh $(DEPS_TEST) buildah
	@KMS_LONG=1 tests/run.sh packaging
test-sim: sim-program
	@tests/run.sh sim

# PKCS#11 modules that the system tests put before kmsd-token: one hands calls on and spoils some, one is a small token of its own.
TOKEN_MODULES := $(B)/tests/token/kmsd-p11-shim.so $(B)/tests/token/kmsd-p11-fake.so
token-modules: $(TOKEN_MODULES)
$(B)/tests/token/kmsd-p11-%.so: tests/token/%.c tests/token/cryptoki.h
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -fPIE,$(KCFLAGS)) $(CFLAGS) $(P11INC) -fPIC -shared -Wl,-z,relro,-z,now -o $@ $< -lcrypto -ldl -lpthread

# The simulation links the real core.
SIM := $(call obj,$(call src,tests/sim))
sim-program: $(B)/tests/sim/sim
$(B)/tests/sim/sim: $(SIM) $(LIBCORE) $(LIBAUDIT) $(LIBPOLICY) $(LIBBASE)
	$(call link,)
# Makes a log longer without a service.
LONGLOG := $(call obj,$(call src,tests/longlog))
longlog-program: $(B)/tests/longlog/longlog
$(B)/tests/longlog/longlog: $(LONGLOG) $(LIBAUDIT) $(LIBPOLICY) $(LIBBASE)
	$(call link,)
soak: sim-program
	@tests/sim/halves.sh $(B)/tests/sim/sim $$(( $(or $(SEEDS),100000) / 2 )) 400

include tests/bench/bench.mk

# Fuzzers: clang's libFuzzer over the parsers, compiled from source with sanitizers.
FUZZ_CC := clang
FUZZ_SECONDS ?= 60
FUZZERS := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_FLAGS := -std=c11 -D_GNU_SOURCE -I. -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -DKMSD_VERSION='"fuzz"'
FUZZ_OBJ = $(patsubst %.c,$(B)/obj/fuzz/%.o,$(1))
FUZZ_LIB := $(B)/fuzz/libfuzzed.a
# Everything pure, instrumented once. What else a fuzzer links stands in FUZZ_SRC_<fuzzer>.
FUZZ_SRC := $(filter-out base/log.c base/stream.c base/secret.c base/fsutil.c,$(wildcard base/*.c)) $(wildcard policy/*.c audit/state/*.c kmsd/core/*.c) \
  audit/record.c audit/recordline.c audit/search.c audit/signing.c audit/statement.c audit/anchor.c kmsd/front/headscan.c audit/verify/schema.c audit/verify/schema_types.c
FUZZ_WORLD := $(wildcard tests/sim/*.c)
FUZZ_SRC_fuzz_request := $(FUZZ_WORLD)
FUZZ_SRC_fuzz_record := $(FUZZ_WORLD)
FUZZ_SRC_fuzz_children := $(FUZZ_WORLD)
FUZZ_SRC_fuzz_audit := $(filter-out audit/verify/main.c audit/verify/schema%.c,$(wildcard audit/verify/*.c)) base/fsutil.c tests/fuzz/folder.c
$(B)/obj/fuzz/audit/verify/arena.o: FUZZ_DEFS := -DKMSD_SANITIZED
FUZZ_SRC_fuzz_answer := client/problem.c client/dsse.c client/release.c
FUZZ_SRC_fuzz_batch := client/batch.c client/sign.c client/problem.c client/dsse.c client/release.c base/fsutil.c
FUZZ_SRC_fuzz_p11 := $(filter-out $(addprefix kmsd/token/,main.c lane.c settle.c verbs.c setup.c tokeninit.c softhsmconf.c servercert.c offlineissue.c changepin.c renewca.c),$(wildcard kmsd/token/*.c)) \
  kmsd/settings.c base/secret.c base/fsutil.c
FUZZ_SRC_fuzz_lane := tests/fuzz/lanetoken.c $(FUZZ_SRC_fuzz_p11) kmsd/token/verbs.c kmsd/token/settle.c
FUZZ_LIBS_fuzz_lane := -lp11 -lp11-kit -ldl
FUZZ_LIBS_fuzz_p11 := -lp11 -lp11-kit -ldl
FUZZ_SRC_fuzz_p256verify := kmsd/token/p256verify.c
FUZZ_SRC_fuzz_logdir := audit/logdir.c audit/logread.c audit/logscan.c audit/logsegments.c base/fsutil.c tests/fuzz/folder.c
FUZZ_SRC_fuzz_row := kmsd/reader/row.c
FUZZ_SRC_fuzz_settings := base/fsutil.c tests/fuzz/folder.c
fuzz-programs: $(FUZZERS)
$(B)/obj/fuzz/tests/sim/main.o: FUZZ_DEFS := -Dmain=sim_main
$(B)/obj/fuzz/%.o: %.c
	$(call say,FUZZCC,$<)
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) $(FUZZ_DEFS) $(if $(filter kmsd/token/% tests/fuzz/%,$<),$(P11INC)) -fsanitize=fuzzer-no-link -MMD -MP -c $< -o $@
$(FUZZ_LIB): $(call FUZZ_OBJ,$(FUZZ_SRC)) ; $(archive)
$(B)/fuzz/%: tests/fuzz/%.c $$(call FUZZ_OBJ,$$(FUZZ_SRC_$$*)) $(FUZZ_LIB)
	$(call say,FUZZ,$@)
	@mkdir -p $(@D) $(B)/obj/fuzz/tests/fuzz
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) $(P11INC) -fsanitize=fuzzer -MMD -MP -MT $@ -MF $(B)/obj/fuzz/tests/fuzz/$*.d -o $@ $< $(filter %.o,$^) -Wl,--start-group $(FUZZ_LIB) -Wl,--end-group -lcrypto -ljansson -lfyaml $(FUZZ_LIBS_$*)
fuzz: $(FUZZERS)
	@for f in $(FUZZERS); do echo "== $$f"; mkdir -p $(B)/corpus/$$(basename $$f); \
	  $$f -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -artifact_prefix=$(B)/corpus/$$(basename $$f)- $(B)/corpus/$$(basename $$f) $$(ls -d tests/fuzz/corpus/$$(basename $$f) 2>/dev/null) || exit 1; done

check-rules: all
	@tests/check-rules.sh $(B)

# The same tests with instrumented programs: memory and undefined behaviour everywhere, races in kmsd-core (the one program with threads).
check-sanitize:
	@$(MAKE) --no-print-directory B=build/asan SAN=address,undefined all unit-programs sim-program longlog-program token-modules bench-programs
	@B=build/asan SIM_SEEDS=$(or $(SIM_SEEDS),2000) tests/run.sh unit sim
	@tests/sanitized.sh build/asan tests/system
check-tsan:
	@$(MAKE) --no-print-directory B=build/tsan SAN=thread all build/tsan/tests/unit/test_disk longlog-program token-modules
	@build/tsan/tests/unit/test_disk
	@KMS_KILLS=1 KMS_ROUNDS=1 KMS_BACK=$(or $(KMS_BACK),5) tests/sanitized.sh build/tsan $(addprefix tests/system/test_,api.py faults.py lanes.py disk.py snapshots.py)
# Without what hides a read of memory that nobody wrote.
check-valgrind:
	@$(MAKE) --no-print-directory B=build/memcheck HARDEN='-O1 -g -DKMSD_SANITIZED' GCC_ONLY= all unit-programs sim-program
	@tests/memcheck.sh build/memcheck

.PHONY: test-docs test-package check-tsan check-valgrind unit-programs token-modules sim-program longlog-program fuzz-programs soak
