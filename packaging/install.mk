# Where `make install` puts things: programs, the processes kmsd starts, example policies, documentation.
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/kmsd $(DESTDIR)$(PREFIX)/share/kmsd/policy $(DESTDIR)$(PREFIX)/share/doc/kmsd
	install -m 0755 $(B)/bin/kmsd $(B)/bin/kmsctl $(B)/bin/kms-audit $(DESTDIR)$(PREFIX)/bin/
	install -m 0755 $(B)/libexec/kmsd/* $(DESTDIR)$(PREFIX)/libexec/kmsd/
	install -m 0644 policy/examples/*.yaml $(DESTDIR)$(PREFIX)/share/kmsd/policy/
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -m 0644 client/kmsctl-completion.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/kmsctl
	install -m 0644 README.md docs/*.md docs/openapi.yaml $(DESTDIR)$(PREFIX)/share/doc/kmsd/
