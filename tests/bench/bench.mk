# What the service does in a second, beside what its token does without it. Figures: docs/performance.md.
BENCH_LOAD := $(call obj,$(call src,tests/bench/load))
BENCH_RAW := $(call obj,$(call src,tests/bench/raw))
# The token's side of a lane, without its loop.
LIBTOKEN := $(B)/lib/libtoken.a
$(LIBTOKEN): $(filter-out $(call obj,kmsd/token/main.c kmsd/token/lane.c kmsd/token/settle.c kmsd/token/verbs.c),$(TOKEN)) ; $(archive)
$(B)/tests/bench/load: $(BENCH_LOAD) $(LIBBASE)
	$(call link,-lssl)
$(B)/tests/bench/raw: $(BENCH_RAW) $(SETTINGS) $(LIBTOKEN) $(LIBBASE)
	$(call link,-lp11 -lp11-kit -ldl)
$(B)/tests/bench/verify: $(call obj,$(call src,tests/bench/verify)) $(LIBBASE)
	$(call link,)
$(B)/tests/bench/nosync.so: tests/bench/nosync.c
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -fPIE,$(KCFLAGS)) $(CFLAGS) -fPIC -shared -Wl,-z,relro,-z,now -o $@ $<
bench-programs: $(B)/tests/bench/load $(B)/tests/bench/raw $(B)/tests/bench/verify $(B)/tests/bench/nosync.so
bench: deps
	@$(MAKE) --no-print-directory all bench-programs
	@KMSD_BUILD=$(abspath $(B)) /usr/bin/python3 -B tests/bench/bench.py $(BENCH_OPTIONS)

# A log of LARGE_RECORDS (10,000,000: 9 GB under build/): how long a start takes, what the processes hold.
bench-large: deps
	@$(MAKE) --no-print-directory all longlog-program
	@KMSD_BUILD=$(abspath $(B)) /usr/bin/python3 -B tests/bench/large.py --records $(or $(LARGE_RECORDS),10000000)

.PHONY: bench bench-large bench-programs

# A log of READER_RECORDS (1,000,000): the index of searches made, first pages, and what searching costs those who sign.
bench-reader: deps
	@$(MAKE) --no-print-directory all longlog-program bench-programs
	@KMSD_BUILD=$(abspath $(B)) /usr/bin/python3 -B tests/bench/reader.py --records $(or $(READER_RECORDS),1000000)

.PHONY: bench-reader
