UNIT_OBJS_test_escape := $(B)/obj/client/escape.o
UNIT_OBJS_test_dsse := $(addprefix $(B)/obj/client/,dsse.o release.o verify.o)
UNIT_OBJS_test_kmsctl_args := $(filter-out $(B)/obj/client/main.o,$(CLIENT))
UNIT_LIBS_test_kmsctl_args := -lcurl
UNIT_OBJS_test_sshsign := $(B)/obj/client/sshsign.o
UNIT_OBJS_test_verify_canon := $(B)/obj/audit/verify/canon.o
UNIT_OBJS_test_verify_schema := $(B)/obj/audit/verify/schema.o $(B)/obj/audit/verify/schema_types.o
UNIT_OBJS_test_statement := $(call obj,kmsd/token/statement.c)
