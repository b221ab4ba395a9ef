/* A command line, one argument per line: the options of get and seed, and the values of each kind. */
#include "base/size.h"
#include "cli/cli.h"
#include "cli/transfer.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define ARGS_MAX 40

static const struct ui_option table[] = {TRANSFER_OPTIONS,
                                         {"number", 'n', "N", "a number"},
                                         {"size", 's', "SIZE", "a size"},
                                         {"time", 't', "TIME", "a time"},
                                         {NULL, 0, NULL, NULL}};

static void read_value(struct transfer *t, struct ui_options *o, int index)
{
    uint64_t v;
    if (index < TRANSFER_N_OPTIONS) {
        int code = transfer_option(t, o, index);
        assert(code == EXIT_OK || code == EXIT_USAGE);
    } else if (index == TRANSFER_N_OPTIONS) {
        assert(!ui_read_u64(o, 3, 1000, &v) || (v >= 3 && v <= 1000));
    } else if (index == TRANSFER_N_OPTIONS + 1) {
        assert(!ui_read_size(o, &v) || v <= 9000000000000000000u);
    } else {
        assert(!ui_read_duration_s(o, &v) || v <= 9000000000000000000u);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct transfer t;
    static char text[4096];
    char *argv[ARGS_MAX + 2] = {(char *)"get"}, *save = NULL, shown[UI_NUMBER_CAP];
    struct ui_options o;
    int argc = 1, index, n_rest;
    stderr = fopen("/dev/null", "w"); /* the sanitizers write to the descriptor */
    len = size_min(len, sizeof text - 1);
    memcpy(text, data, len);
    text[len] = 0;
    for (char *a = strtok_r(text, "\n", &save); a && argc <= ARGS_MAX;
         a = strtok_r(NULL, "\n", &save))
        if (strncmp(a, "--h", 3) != 0) /* --help ends the program */
            argv[argc++] = a;
    transfer_init(&t);
    ui_options_init(&o, "TEST", "A test.", table, argc, argv);
    while ((index = ui_options_next(&o)) != UI_OPTION_END) {
        if (index == UI_OPTION_BAD)
            break;
        assert(index >= 0 && index < TRANSFER_N_OPTIONS + 3);
        read_value(&t, &o, index);
    }
    char **rest = ui_options_rest(&o, &n_rest);
    assert(n_rest >= 0 && n_rest < argc && (n_rest == 0 || rest[n_rest - 1]));
    ui_size(len * 0x123456789u, shown);
    ui_duration(len * 0x12345u, shown);
    fclose(stderr);
    return 0;
}
