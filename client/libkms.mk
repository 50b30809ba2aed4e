# libkms, the client library: the files of kmsctl that are no command, as shared and static library. Only the names in client/libkms.map are visible.
LIBKMS_SO := 0
LIBKMS_SRC := $(filter-out client/args.c client/api.c client/audit.c client/certfile.c client/cmd_%.c client/commands.c client/config.c client/escape.c \
  client/help.c client/main.c client/owncert.c client/output.c client/subject.c,$(call src,client))
pic = $(patsubst %.c,$(B)/pic/%.o,$(1))
# What the library needs of the folders below it, as far as it needs it.
LIBPIC := $(B)/pic/libpic.a
LIBKMS := $(B)/lib/libkms.so.$(LIBKMS_SO) $(B)/lib/libkms.a
PICFLAGS = $(filter-out -fPIE,$(KCFLAGS)) -fPIC
MAP_NAMES = $(shell sed -n 's/^ *\(kms_[a-z_]*\);.*/\1/p' client/libkms.map)

$(B)/pic/%.o: %.c
	$(call say,CC,$< [pic])
	@mkdir -p $(@D)
	$(Q)$(CC) $(PICFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@
$(LIBPIC): $(call pic,$(call src,base) $(call src,policy) audit/statement.c audit/record.c) ; $(archive)
$(B)/lib/libkms.so.$(LIBKMS_SO): $(call pic,$(LIBKMS_SRC)) $(LIBPIC) client/libkms.map
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(PICFLAGS) $(CFLAGS) $(LDFLAGS) -shared -Wl,-soname,$(@F) -Wl,--version-script=client/libkms.map -Wl,-z,relro,-z,now,-z,noexecstack,-z,defs \
	  -Wl,--as-needed -o $@ $(filter %.o,$^) $(LIBPIC) -lcurl -ljansson -lcrypto
	@ln -sf $(@F) $(B)/lib/libkms.so
# One object whose own names are hidden, so that a static program may have a buf_put of its own.
$(B)/lib/libkms.a: $(call pic,$(LIBKMS_SRC)) $(LIBPIC) client/libkms.map
	$(call say,AR,$@)
	@mkdir -p $(@D)
	$(Q)ld -r -o $(B)/pic/libkms.o $(filter %.o,$^) $(LIBPIC)
	$(Q)objcopy $(addprefix --keep-global-symbol=,$(MAP_NAMES)) $(B)/pic/libkms.o
	@rm -f $@
	$(Q)ar rcsD $@ $(B)/pic/libkms.o

.PHONY: lib
lib: $(LIBKMS)
-include $(shell find $(B)/pic -name '*.d' 2>/dev/null)
