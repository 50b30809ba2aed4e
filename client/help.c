/* Prints help and finds the nearest command. */
#include "client/help.h"

#include <string.h>

#include "client/args.h"

#define WORD_MAX 32

static void full_name(const struct command *cmd, char *out, size_t size)
{
    snprintf(out, size, "%s%s%s", cmd->noun, cmd->verb ? " " : "", cmd->verb ? cmd->verb : "");
}

void help_overview(FILE *to, const char *noun)
{
    fprintf(to, "Usage: kmsctl %s%sCOMMAND [OPTION]...\n\nCommands:\n", noun ? noun : "", noun ? " " : "");
    for (size_t i = 0; i < command_count; i++) {
        char name[2 * WORD_MAX];

        if (noun && strcmp(noun, command_table[i].noun) != 0)
            continue;
        full_name(&command_table[i], name, sizeof(name));
        fprintf(to, "  %-18s %s\n", name, command_table[i].summary);
    }
    fputs("\n'kmsctl COMMAND --help' tells more of one. 'kmsctl --version' prints the version.\n"
          "Exit: 0 done, 1 refused or invalid, 2 usage, 3 cannot reach the service (or it is not ready), 4 waits for approval.\n",
          to);
}

static void print_option(FILE *to, enum opt_code o)
{
    char left[64];
    const struct option_info *info = &option_table[o];

    if (!info->help)
        return;
    snprintf(left, sizeof(left), "%s--%s%s%s", o == OPT_OUTPUT ? "-o, " : o == OPT_HELP ? "-h, " : "", info->name, info->arg ? " " : "",
             info->arg ? info->arg : "");
    fprintf(to, "  %-28s %s\n", left, info->help);
}

void help_command(FILE *to, const struct command *cmd)
{
    char name[2 * WORD_MAX];

    full_name(cmd, name, sizeof(name));
    fprintf(to, "Usage: kmsctl %s [OPTION]...%s%s\n\n%s.\n", name, cmd->words[0] ? " " : "", cmd->words, cmd->summary);
    if (cmd->details[0])
        fprintf(to, "\n%s", cmd->details);
    if (cmd->options[0])
        fputs("\nOptions:\n", to);
    for (size_t i = 0; i < OPT_LIST_MAX && cmd->options[i]; i++)
        print_option(to, (enum opt_code)cmd->options[i]);
    fputs("\nCommon options [environment variable]:\n", to);
    for (int o = 0; o <= OPT_LAST_COMMON; o++)
        print_option(to, (enum opt_code)o);
}

/* Levenshtein distance of two words, over one row. Longer words count as far. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[WORD_MAX + 1];
    size_t la = strlen(a), lb = strlen(b);

    if (la > WORD_MAX || lb > WORD_MAX)
        return WORD_MAX;
    for (unsigned j = 0; j <= lb; j++)
        row[j] = j;
    for (size_t i = 1; i <= la; i++) {
        unsigned diagonal = row[0];

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= lb; j++) {
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
        }
    }
    return row[lb];
}

const struct command *help_nearest(const char *noun, const char *verb)
{
    const struct command *best = NULL;
    size_t len = strlen(noun) + (verb ? strlen(verb) : 0);
    unsigned least = len < 4 ? (unsigned)len : 4; /* farther is no typing error; nor is a word of which no letter is right */

    for (size_t i = 0; i < command_count; i++) {
        const struct command *cmd = &command_table[i];
        unsigned d = distance(noun, cmd->noun);

        if (cmd->verb && verb)
            d += distance(verb, cmd->verb);
        if (d < least) {
            least = d;
            best = cmd;
        }
    }
    return best;
}

void help_complete(FILE *to)
{
    for (size_t i = 0; i < command_count; i++) {
        char name[2 * WORD_MAX];

        full_name(&command_table[i], name, sizeof(name));
        fprintf(to, "%s:", name);
        for (int o = 0; o < OPT_COUNT; o++)
            if (args_takes(&command_table[i], (enum opt_code)o))
                fprintf(to, " --%s", option_table[o].name);
        fputc('\n', to);
    }
}
