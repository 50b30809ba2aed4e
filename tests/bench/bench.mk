# What the service does in a second, beside what its token does without it. Figures: docs/performance.md.
BENCH_LOAD := $(call obj,$(call src,tests/bench/load))
BENCH_RAW := $(call obj,$(call src,tests/bench/raw))
# The token's side of a lane, without its loop.
LIBTOKEN := $(B)/lib/libtoken.a
$(LIBTOKEN): $(filter-out $(call obj,kmsd/token/main.c kmsd/token/lane.c kmsd/token/verbs.c),$(TOKEN)) ; $(archive)
$(B)/tests/bench/load: $(BENCH_LOAD) $(LIBBASE)
	$(call link,-lssl)
$(B)/tests/bench/raw: $(BENCH_RAW) $(SETTINGS) $(LIBTOKEN) $(LIBBASE)
	$(call link,-lp11 -lp11-kit -ldl)
bench-programs: $(B)/tests/bench/load $(B)/tests/bench/raw
bench: deps
	@$(MAKE) --no-print-directory all bench-programs
	@KMSD_BUILD=$(abspath $(B)) /usr/bin/python3 -B tests/bench/bench.py $(BENCH_OPTIONS)

.PHONY: bench bench-programs
