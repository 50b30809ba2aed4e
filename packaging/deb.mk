# Debian packages, in build/deb; made again when a file of theirs changed.
DEPS_DEB := dpkg-dev debhelper fakeroot
DEB_SOURCES = $(shell find Makefile README.md base policy audit kmsd client docs packaging softhsm-config tests/tests.mk -type f)
.PHONY: deb
deb: $(B)/deb/made
$(B)/deb/made: $(DEB_SOURCES)
	@packaging/deps.sh $(DEPS) $(DEPS_DEB)
	@packaging/deb.sh $(B)/deb $(VERSION)
	@touch $@
