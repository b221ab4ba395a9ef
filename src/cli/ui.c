#include "cli/ui.h"
#include "cli/cli.h"
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* The one piece of state: whether the terminal's current line is ours to erase. */
static bool has_progress_line;

static void print_error(const char *fmt, va_list args)
{
    ui_progress_end();
    fputs("shoal: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
}

int ui_fail(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    print_error(fmt, args);
    va_end(args);
    return EXIT_FAIL;
}

int ui_fail_err(const char *subject, const struct err *err)
{
    char text[256];
    return ui_fail("%s: %s", subject, err_format(err, text, sizeof text));
}

int ui_usage(const char *command, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    print_error(fmt, args);
    va_end(args);
    fprintf(stderr, "Try 'shoal %s --help'.\n", command);
    return EXIT_USAGE;
}

/* --- commands -------------------------------------------------------------------------------- */

static void menu_print(const struct ui_menu *m)
{
    printf("Usage: shoal %s%sCOMMAND [OPTION...] [ARGUMENT...]\n\n%s\n\nCommands:\n",
           m->of ? m->of : "", m->of ? " " : "", m->summary);
    for (const struct ui_command *c = m->table; c->name; c++)
        printf("  %-*s %s\n", m->name_width, c->name, c->help);
    printf("\n%s\n", m->footer);
}

int ui_menu_run(const struct ui_menu *m, int argc, char **argv)
{
    bool is_help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0);
    if (argc < 2 || is_help) {
        menu_print(m);
        return is_help ? EXIT_OK : EXIT_USAGE;
    }
    const struct ui_command *c = m->table;
    while (c->name && strcmp(argv[1], c->name) != 0)
        c++;
    if (!c->name)
        return UI_MENU_UNKNOWN;
    char full[64];
    snprintf(full, sizeof full, "%s%s%s", m->of ? m->of : "", m->of ? " " : "", c->name);
    argv[1] = full;
    return c->run(argc - 1, argv + 1);
}

/* --- options --------------------------------------------------------------------------------- */

#define KEY_BASE 1000 /* above every letter */
#define KEY_HELP 999

void ui_options_init(struct ui_options *o, const char *synopsis, const char *summary,
                     const struct ui_option *table, int argc, char **argv)
{
    *o = (struct ui_options){
        .command = argv[0],
        .synopsis = synopsis,
        .summary = summary,
        .table = table,
        .argc = argc,
        .argv = argv,
    };
    while (table[o->n].name)
        o->n++;
    optind = 0; /* glibc: start over */
    opterr = 0;
}

static void print_help(const struct ui_options *o)
{
    printf("Usage: shoal %s %s\n\n%s\n", o->command, o->synopsis, o->summary);
    if (o->n)
        printf("\nOptions:\n");
    for (int i = 0; i < o->n; i++) {
        const struct ui_option *e = &o->table[i];
        char left[80];
        snprintf(left, sizeof left, "%s%.1s%s--%s%s%s", e->letter ? "-" : "",
                 e->letter ? &e->letter : "", e->letter ? ", " : "    ", e->name, e->arg ? " " : "",
                 e->arg ? e->arg : "");
        printf("  %-30s %s\n", left, e->help);
    }
    printf("  %-30s %s\n", "    --help", "show this text");
}

static void build_getopt_tables(const struct ui_options *o, struct option *out_long,
                                char *out_short)
{
    size_t s = 0;
    out_short[s++] = ':';
    for (int i = 0; i < o->n; i++) {
        const struct ui_option *e = &o->table[i];
        out_long[i] =
            (struct option){e->name, e->arg ? required_argument : no_argument, NULL, KEY_BASE + i};
        if (e->letter) {
            out_short[s++] = e->letter;
            if (e->arg)
                out_short[s++] = ':';
        }
    }
    out_long[o->n] = (struct option){"help", no_argument, NULL, KEY_HELP};
    out_long[o->n + 1] = (struct option){0};
    out_short[s] = '\0';
}

static int index_of_letter(const struct ui_options *o, int letter)
{
    for (int i = 0; i < o->n; i++)
        if (o->table[i].letter == letter)
            return i;
    return UI_OPTION_BAD;
}

int ui_options_next(struct ui_options *o)
{
    struct option long_options[UI_OPTIONS_MAX + 2];
    char letters[2 * UI_OPTIONS_MAX + 2];
    build_getopt_tables(o, long_options, letters);
    int key = getopt_long(o->argc, o->argv, letters, long_options, NULL);
    o->value = optarg;
    if (key == -1)
        return UI_OPTION_END;
    if (key == KEY_HELP) {
        print_help(o);
        exit(EXIT_OK);
    }
    if (key == '?' || key == ':') {
        const char *given = o->argv[optind - 1];
        ui_usage(o->command, key == ':' ? "%s: option %s needs a value" : "%s: unknown option %s",
                 o->command, given);
        return UI_OPTION_BAD;
    }
    return key >= KEY_BASE ? key - KEY_BASE : index_of_letter(o, key);
}

char **ui_options_rest(struct ui_options *o, int *out_n)
{
    *out_n = o->argc - optind;
    return o->argv + optind;
}

static bool bad_value(const struct ui_options *o, const char *want)
{
    ui_usage(o->command, "%s: '%s' is not %s", o->command, o->value, want);
    return false;
}

bool ui_read_u64(struct ui_options *o, uint64_t min, uint64_t max, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long v = strtoull(o->value, &end, 10);
    if (errno || end == o->value || *end || o->value[0] == '-' || v < min || v > max) {
        char want[80];
        snprintf(want, sizeof want, "a number from %llu to %llu", (unsigned long long)min,
                 (unsigned long long)max);
        return bad_value(o, want);
    }
    *out = v;
    return true;
}

/* value * unit for the suffix found, or false. The table of units ends with factor 0. */
struct unit {
    const char *suffix;
    uint64_t factor;
};

static bool read_with_unit(const char *text, const struct unit *units, uint64_t *out)
{
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    if (errno || end == text || !(v >= 0) || v > 1e15)
        return false;
    for (; units->factor; units++) {
        if (strcasecmp(end, units->suffix) == 0) {
            double product = v * (double)units->factor;
            if (product > 9e18)
                return false;
            *out = (uint64_t)product;
            return true;
        }
    }
    return false;
}

bool ui_read_size(struct ui_options *o, uint64_t *out)
{
    static const struct unit units[] = {{"", 1},          {"K", 1 << 10},   {"KiB", 1 << 10},
                                        {"M", 1 << 20},   {"MiB", 1 << 20}, {"G", 1 << 30},
                                        {"GiB", 1 << 30}, {NULL, 0}};
    return read_with_unit(o->value, units, out) || bad_value(o, "a size such as 16K, 1.5M or 2G");
}

bool ui_read_duration_s(struct ui_options *o, uint64_t *out)
{
    static const struct unit units[] = {{"", 1},     {"s", 1},     {"m", 60},
                                        {"h", 3600}, {"d", 86400}, {NULL, 0}};
    return read_with_unit(o->value, units, out) || bad_value(o, "a time such as 90, 15m, 2h or 1d");
}

/* --- numbers for people ---------------------------------------------------------------------- */

char *ui_size(uint64_t len, char out[UI_NUMBER_CAP])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)len;
    unsigned u = 0;
    while (v >= 1024 && u + 1 < sizeof units / sizeof *units) {
        v /= 1024;
        u++;
    }
    snprintf(out, UI_NUMBER_CAP, u == 0 ? "%.0f %s" : "%.1f %s", v, units[u]);
    return out;
}

char *ui_rate(uint64_t per_s, char out[UI_NUMBER_CAP])
{
    ui_size(per_s, out);
    size_t n = strlen(out);
    snprintf(out + n, UI_NUMBER_CAP - n, "/s");
    return out;
}

char *ui_duration(uint64_t s, char out[UI_NUMBER_CAP])
{
    unsigned long long v = s;
    if (v < 60)
        snprintf(out, UI_NUMBER_CAP, "%llu s", v);
    else if (v < 3600)
        snprintf(out, UI_NUMBER_CAP, "%llu:%02llu", v / 60, v % 60);
    else
        snprintf(out, UI_NUMBER_CAP, "%llu:%02llu:%02llu", v / 3600, v / 60 % 60, v % 60);
    return out;
}

char *ui_date(int64_t unix_s, char out[UI_NUMBER_CAP])
{
    struct tm tm;
    time_t at = (time_t)unix_s;
    if (!gmtime_r(&at, &tm) || !strftime(out, UI_NUMBER_CAP, "%Y-%m-%d %H:%M:%S UTC", &tm))
        out[0] = '\0';
    return out;
}

/* --- progress line --------------------------------------------------------------------------- */

bool ui_is_terminal(FILE *f)
{
    return isatty(fileno(f));
}

static size_t terminal_width(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 10)
        return size.ws_col;
    return 80;
}

void ui_progress(const char *fmt, ...)
{
    if (!ui_is_terminal(stderr))
        return;
    char line[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    fprintf(stderr, "\r\033[K%.*s", (int)terminal_width() - 1, line);
    fflush(stderr);
    has_progress_line = true;
}

void ui_progress_end(void)
{
    if (has_progress_line)
        fputs("\r\033[K", stderr);
    has_progress_line = false;
}
