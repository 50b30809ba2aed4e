# Where `make install` puts things: programs, the processes kmsd starts, example policies, documentation, what systemd needs.
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
install: all lib
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/kmsd $(DESTDIR)$(PREFIX)/share/kmsd/policy $(DESTDIR)$(PREFIX)/share/doc/kmsd
	install -m 0755 $(B)/bin/kmsd $(B)/bin/kmsctl $(B)/bin/kms-audit $(DESTDIR)$(PREFIX)/bin/
	install -m 0755 $(B)/libexec/kmsd/* $(DESTDIR)$(PREFIX)/libexec/kmsd/
	install -m 0644 policy/examples/*.yaml $(DESTDIR)$(PREFIX)/share/kmsd/policy/
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -m 0644 client/kmsctl-completion.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/kmsctl
	install -m 0644 README.md docs/*.md docs/openapi.yaml $(DESTDIR)$(PREFIX)/share/doc/kmsd/
	install -d $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSUSERSDIR) $(DESTDIR)$(TMPFILESDIR)
	sed 's|/usr/local/|$(PREFIX)/|' packaging/systemd/kmsd.service >$(DESTDIR)$(UNITDIR)/kmsd.service
	chmod 0644 $(DESTDIR)$(UNITDIR)/kmsd.service
	install -m 0644 packaging/sysusers.d/kmsd.conf $(DESTDIR)$(SYSUSERSDIR)/kmsd.conf
	install -m 0644 packaging/tmpfiles.d/kmsd.conf $(DESTDIR)$(TMPFILESDIR)/kmsd.conf
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/share/doc/kmsd/examples
	install -m 0644 $(LIBKMS) $(DESTDIR)$(LIBDIR)/
	ln -sf libkms.so.$(LIBKMS_SO) $(DESTDIR)$(LIBDIR)/libkms.so
	install -m 0644 client/kms.h $(DESTDIR)$(PREFIX)/include/kms.h
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@VERSION@|$(VERSION)|' client/libkms.pc.in >$(DESTDIR)$(LIBDIR)/pkgconfig/libkms.pc
	install -m 0644 client/examples/sign.c $(DESTDIR)$(PREFIX)/share/doc/kmsd/examples/sign.c
