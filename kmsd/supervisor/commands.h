/* The subcommands of kmsd. Each gets argc and argv from its own name ("kmsd run") on and returns an exit code: 0 done, 1 refused, 2 usage. */
#ifndef KMS_SUPERVISOR_COMMANDS_H
#define KMS_SUPERVISOR_COMMANDS_H

int command_run(int argc, char **argv);
int command_check(int argc, char **argv);
int command_init(int argc, char **argv);
int command_dev(int argc, char **argv);
int command_unseal(int argc, char **argv);
int command_rebuild_index(int argc, char **argv);
int command_anchor(int argc, char **argv);
int command_recover_admin(int argc, char **argv);
int command_renew_ca(int argc, char **argv);
int command_change_pin(int argc, char **argv);
int command_renew_server(int argc, char **argv);
int command_settings(int argc, char **argv);

#endif
