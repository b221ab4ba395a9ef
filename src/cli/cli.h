/* cli: the subcommands of shoal, one file each.
 *
 * A command gets argv with its own name in argv[0] and returns the process's exit code.
 */
#pragma once

enum cli_exit {
    EXIT_OK = 0,
    EXIT_FAIL = 1,       /* the job failed; one line on stderr says why         */
    EXIT_USAGE = 2,      /* the command line was wrong                          */
    EXIT_INCOMPLETE = 3, /* stopped before it was done; the same command goes on */
};

int cmd_bitcoin(int argc, char **argv);
int cmd_create(int argc, char **argv);
int cmd_get(int argc, char **argv);
int cmd_magnet(int argc, char **argv);
int cmd_seed(int argc, char **argv);
int cmd_show(int argc, char **argv);
int cmd_sim(int argc, char **argv);
int cmd_tracker(int argc, char **argv);
int cmd_verify(int argc, char **argv);
