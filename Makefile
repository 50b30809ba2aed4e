# kmsd: one non-recursive Makefile. `make help` lists the targets.
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
DESTDIR ?=
B ?= build
CC ?= gcc
V ?= 0
Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-6s %s\n' $(1) $(2))

VERSION := 0.1.0
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual \
  -Wwrite-strings -Wformat=2 -Wundef -Wvla -Wnull-dereference -Wswitch-enum -Wimplicit-fallthrough
GCC_ONLY := -Wduplicated-cond -Wduplicated-branches -Wlogical-op -ftrivial-auto-var-init=zero -fzero-call-used-regs=used-gpr
IS_CLANG := $(shell $(CC) --version 2>/dev/null | grep -c clang)
HARDEN := -O2 -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection -fcf-protection=full
LINKHARD := -pie -Wl,-z,relro,-z,now,-z,noexecstack
WERROR := $(if $(CI),-Werror,)
SAN ?=
ifneq ($(SAN),)
HARDEN := -O1 -g -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all -DKMSD_SANITIZED
endif
CFLAGS ?= -g
KCFLAGS := -std=c11 -D_GNU_SOURCE -I. -DKMSD_VERSION='"$(VERSION)"' $(WARN) $(if $(filter 0,$(IS_CLANG)),$(GCC_ONLY)) $(HARDEN) -fPIE $(WERROR)
P11INC = $(shell pkg-config --cflags p11-kit-1 2>/dev/null)
LDLIBS_BASE := -lcrypto -ljansson -lfyaml -lpthread

# Every folder becomes one archive; programs name the archives they may use.
src = $(wildcard $(1)/*.c)
obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
BASE := $(call obj,$(call src,base))
POLICY := $(call obj,$(call src,policy))
AUDIT := $(call obj,$(call src,audit) $(call src,audit/state))
KMSAUDIT := $(call obj,$(call src,audit/verify))
SETTINGS := $(call obj,kmsd/settings.c)
SANDBOX := $(call obj,$(call src,kmsd/sandbox))
CORE := $(call obj,$(call src,kmsd/core))
COREIO := $(call obj,$(call src,kmsd/core/io))
FRONT := $(call obj,$(call src,kmsd/front))
TOKEN := $(call obj,$(call src,kmsd/token))
READER := $(call obj,$(call src,kmsd/reader))
SUPER := $(call obj,$(call src,kmsd/supervisor))
CLIENT := $(call obj,$(call src,client))

LIBBASE := $(B)/lib/libbase.a
LIBPOLICY := $(B)/lib/libpolicy.a
LIBAUDIT := $(B)/lib/libaudit.a
LIBCORE := $(B)/lib/libcore.a

PROGRAMS := $(B)/bin/kmsd $(B)/bin/kmsctl $(B)/bin/kms-audit \
  $(B)/libexec/kmsd/kmsd-core $(B)/libexec/kmsd/kmsd-front $(B)/libexec/kmsd/kmsd-token $(B)/libexec/kmsd/kmsd-reader

.PHONY: all help deps deps-test demo test test-unit test-system test-sim check-rules check-sanitize fuzz clean install
all: $(PROGRAMS)

help:
	@sed -n 's/^## //p' Makefile

## make            build the programs into build/
## make lib        build libkms, the client library
## make man        build the manual pages (needs scdoc)
## make deps       install what building and running need (Debian packages)
## make deps-test  install what the tests need besides
## make demo       from nothing to a signed and verified bundle
## make test       every test; ends with "N passed, N failed"
## make test-docs what README.md and docs/operations.md tell their readers to type
## make test-package the Debian packages and the container on clean roots (as root, 10 minutes)
## make check-rules the rules of the source tree
## make check-sanitize unit tests, simulation, system tests with address and undefined-behaviour sanitizers
## make check-tsan  the disk thread and system tests of the core with the thread sanitizer
## make check-valgrind unit tests, a short simulation and the core of a running service under memcheck
## make bench      signatures a second beside what the token does alone; a table and build/bench.json (3 minutes)
## make bench-large how a service starts and what it holds with ten million records
## make fuzz       run every fuzzer for FUZZ_SECONDS (60)
## make install    into DESTDIR and PREFIX; make uninstall takes it away again
## make deb        Debian packages, into build/deb
## make clean      remove build/

$(B)/obj/%.o: %.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(KCFLAGS) $(CFLAGS) $(if $(filter kmsd/token/% tests/%,$<),$(P11INC)) -MMD -MP -c $< -o $@

define archive
	$(call say,AR,$@)
	@mkdir -p $(@D)
	@rm -f $@
	$(Q)ar rcsD $@ $^
endef
define link
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(KCFLAGS) $(CFLAGS) $(LDFLAGS) $(LINKHARD) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(1) $(LDLIBS_BASE)
endef

$(LIBBASE): $(BASE) ; $(archive)
$(LIBPOLICY): $(POLICY) ; $(archive)
$(LIBAUDIT): $(AUDIT) ; $(archive)
$(LIBCORE): $(CORE) ; $(archive)

$(B)/bin/kmsd: $(SUPER) $(SETTINGS) $(SANDBOX) $(LIBAUDIT) $(LIBPOLICY) $(LIBBASE)
	$(call link,-lseccomp)
$(B)/bin/kmsctl: $(CLIENT) $(LIBAUDIT) $(LIBPOLICY) $(LIBBASE)
	$(call link,-lcurl)
$(B)/bin/kms-audit: $(KMSAUDIT) $(LIBPOLICY) $(LIBBASE)
	$(call link,)
$(B)/libexec/kmsd/kmsd-core: $(COREIO) $(SETTINGS) $(SANDBOX) $(LIBCORE) $(LIBAUDIT) $(LIBPOLICY) $(LIBBASE)
	$(call link,-lseccomp)
$(B)/libexec/kmsd/kmsd-front: $(FRONT) $(SETTINGS) $(SANDBOX) $(LIBBASE)
	$(call link,-lmicrohttpd -lgnutls -lseccomp -ldl)
$(B)/libexec/kmsd/kmsd-token: $(TOKEN) $(SETTINGS) $(SANDBOX) $(LIBBASE)
	$(call link,-lp11 -lp11-kit -lseccomp -ldl)

$(B)/libexec/kmsd/kmsd-reader: $(READER) $(SETTINGS) $(SANDBOX) $(LIBAUDIT) $(LIBPOLICY) $(LIBBASE)
	$(call link,-lsqlite3 -lseccomp)

# Unit tests: tests/unit/test_X.c is one program; what it links beyond the libraries is named in UNIT_OBJS_test_X.
UNIT := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/test_*.c))
include tests/unit/objects.mk
.SECONDEXPANSION:
$(B)/tests/unit/%: $(B)/obj/tests/unit/%.o $$(UNIT_OBJS_$$*) $(LIBCORE) $(LIBAUDIT) $(LIBPOLICY) $(LIBBASE)
	$(call link,-lcmocka $(UNIT_LIBS_$*))

include client/libkms.mk
include tests/tests.mk
include packaging/man/man.mk
include packaging/install.mk
include packaging/deb.mk

clean:
	rm -rf $(B)

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

# Files that are compiled into objects by .incbin.
$(B)/obj/kmsd/token/softhsmconf.o: softhsm-config/softhsm2.conf.in
$(B)/obj/kmsd/supervisor/examples.o: policy/examples/bootstrap.yaml policy/examples/dev.yaml
