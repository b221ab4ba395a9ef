/* ui: what the subcommands share: errors in one line, options with their help, numbers for
 * people, and a progress line that redraws itself on a terminal and keeps quiet elsewhere.
 *
 * Ownership  option values point into argv
 * Threads    the main thread only
 */
#pragma once
#include "base/err.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* "shoal: " and the message on stderr, in one line; returns EXIT_FAIL. Ends a progress line. */
int ui_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* "shoal: SUBJECT: " and the error in words; returns EXIT_FAIL. */
int ui_fail_err(const char *subject, const struct err *err);
/* The message and a pointer to --help; returns EXIT_USAGE. */
int ui_usage(const char *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* --- commands -------------------------------------------------------------------------------- */

struct ui_command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
};

struct ui_menu {
    const char *of; /* the command that has these; NULL: shoal itself */
    const char *summary, *footer;
    int name_width;                 /* of the column in the help */
    const struct ui_command *table; /* ends with an entry without a name */
};

#define UI_MENU_UNKNOWN (-1)

/* Runs the command that argv[1] names, with argv[0] its name ("bitcoin import"), or prints the
 * help; returns the exit code. UI_MENU_UNKNOWN: argv[1] is none of them. */
int ui_menu_run(const struct ui_menu *m, int argc, char **argv);

/* --- options --------------------------------------------------------------------------------- */

struct ui_option {
    const char *name; /* without the dashes */
    char letter;      /* -x as well; 0: none */
    const char *arg;  /* name of the value in the help; NULL: a flag */
    const char *help;
};

#define UI_OPTIONS_MAX 48u
#define UI_OPTION_END  (-1)
#define UI_OPTION_BAD  (-2) /* already reported; return EXIT_USAGE */

struct ui_options {
    const char *command, *synopsis, *summary;
    const struct ui_option *table;
    int n, argc;
    char **argv;
    const char *value; /* of the option just returned */
};

/* table ends with an entry without a name; --help is added by itself (prints, exits with 0). */
void ui_options_init(struct ui_options *o, const char *synopsis, const char *summary,
                     const struct ui_option *table, int argc, char **argv);
/* Index into the table, UI_OPTION_END or UI_OPTION_BAD. */
int ui_options_next(struct ui_options *o);
/* What is left after the options (they may be mixed); *out_n of them. */
char **ui_options_rest(struct ui_options *o, int *out_n);

/* Values: false (and reported as usage error) when they do not parse. */
bool ui_read_u64(struct ui_options *o, uint64_t min, uint64_t max, uint64_t *out);
bool ui_read_size(struct ui_options *o, uint64_t *out);       /* 16K, 1.5M, 2G: powers of 1024 */
bool ui_read_duration_s(struct ui_options *o, uint64_t *out); /* 90, 90s, 15m, 2h, 1d */

/* --- numbers for people ---------------------------------------------------------------------- */

#define UI_NUMBER_CAP 32u
char *ui_size(uint64_t len, char out[UI_NUMBER_CAP]);         /* "1.4 GiB" */
char *ui_rate(uint64_t per_s, char out[UI_NUMBER_CAP]);       /* "12.5 MiB/s" */
char *ui_duration(uint64_t seconds, char out[UI_NUMBER_CAP]); /* "1:02:03", "42 s" */
char *ui_date(int64_t unix_s, char out[UI_NUMBER_CAP]); /* "2026-11-22 19:12:14 UTC"; "": none */

/* --- progress line --------------------------------------------------------------------------- */

bool ui_is_terminal(FILE *f);
/* Replaces the line on stderr if that is a terminal, cut to its width; nothing otherwise. */
void ui_progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Clears the line, so that ordinary output can follow. */
void ui_progress_end(void);
