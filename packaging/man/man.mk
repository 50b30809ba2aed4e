# Manual pages: scdoc sources, with what the programs and tables know filled in.
MAN_PAGES := $(patsubst packaging/man/%.scd,$(B)/man/%,$(wildcard packaging/man/*.scd))
.PHONY: man
man: $(MAN_PAGES)
$(B)/man/%: packaging/man/%.scd packaging/man/page.sh packaging/man/help.awk packaging/man/markdown.awk $(PROGRAMS) docs/log-format.md docs/openapi.yaml \
  client/kms.h $(wildcard client/examples/*.c) policy/policy.h policy/examples/release.yaml
	$(call say,MAN,$@)
	@mkdir -p $(@D)
	$(Q)packaging/man/page.sh $(B)/bin $(VERSION) $< >$@.scd
	$(Q)scdoc <$@.scd >$@ || { rm -f $@; exit 1; }
