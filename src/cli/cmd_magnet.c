/* shoal magnet: prints the magnet link of a .torrent file. */
#include "cli/cli.h"
#include "cli/torrent_file.h"
#include "cli/ui.h"

static const struct ui_option options[] = {
    {"no-trackers", 0, NULL, "leave trackers and web seeds out"},
    {0},
};

static int print_link(struct metainfo *m, struct mem *mem, bool is_bare)
{
    struct buf link;
    if (is_bare)
        m->n_trackers = m->n_webseeds = 0;
    buf_init(&link, mem, TORRENT_FILE_LEN_MAX);
    magnet_write_metainfo(m, &link);
    buf_u8(&link, '\n');
    bool is_good =
        !link.err && fwrite(link.data, 1, link.len, stdout) == link.len && fflush(stdout) == 0;
    buf_clear(&link);
    return is_good ? EXIT_OK : ui_fail("standard output: cannot write the link");
}

int cmd_magnet(int argc, char **argv)
{
    struct ui_options o;
    struct mem mem;
    struct metainfo *m;
    bool is_bare = false;
    int n, i;
    ui_options_init(&o, "[OPTION...] FILE", "Print the magnet link of a .torrent file.", options,
                    argc, argv);
    while ((i = ui_options_next(&o)) != UI_OPTION_END) {
        if (i == UI_OPTION_BAD)
            return EXIT_USAGE;
        is_bare = true;
    }
    char **rest = ui_options_rest(&o, &n);
    if (n != 1)
        return ui_usage("magnet", n ? "magnet: one FILE at a time" : "magnet: no FILE given");
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    if (!torrent_file_read(rest[0], &mem, &m))
        return EXIT_FAIL;
    int code = print_link(m, &mem, is_bare);
    metainfo_free(m);
    return code;
}
