/* shoal show: what a .torrent file or a magnet link says. */
#include "base/hex.h"
#include "cli/cli.h"
#include "cli/torrent_file.h"
#include "cli/ui.h"
#include <jansson.h>

static const struct ui_option options[] = {
    {"json", 'j', NULL, "one JSON object"},
    {0},
};

static json_t *hex_or_null(bool has, const uint8_t *hash, size_t len)
{
    char hex[2 * SHA256_LEN + 1];
    return has ? json_string(hex_encode(bytes_of(hash, len), hex, sizeof hex)) : json_null();
}

/* BEP 47's letters. */
static const char *attr_text(uint8_t flags, char out[5])
{
    size_t n = 0;
    if (flags & FILE_PAD)
        out[n++] = 'p';
    if (flags & FILE_EXEC)
        out[n++] = 'x';
    if (flags & FILE_HIDDEN)
        out[n++] = 'h';
    if (flags & FILE_SYMLINK)
        out[n++] = 'l';
    out[n] = '\0';
    return out;
}

static int print_json(json_t *object)
{
    int failed = json_dumpf(object, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    json_decref(object);
    if (failed || putchar('\n') == EOF || fflush(stdout) != 0)
        return ui_fail("standard output: cannot write the JSON object");
    return EXIT_OK;
}

/* --- a .torrent file ------------------------------------------------------------------------- */

/* Pad files are part of a v1 list; what a v2 or hybrid torrent holds is its file tree. */
static json_t *files_json(const struct metainfo *m)
{
    json_t *files = json_array();
    char attr[5];
    for (uint32_t i = 0; i < m->n_files; i++) {
        const struct metainfo_file *f = &m->files[i];
        if (!(m->has_v2 && f->flags & FILE_PAD))
            json_array_append_new(files,
                                  json_pack("{s:s, s:I, s:s}", "path", f->path, "len",
                                            (json_int_t)f->len, "attr", attr_text(f->flags, attr)));
    }
    return files;
}

static json_t *trackers_json(const struct metainfo *m)
{
    json_t *tiers = json_array(), *tier = NULL;
    for (uint32_t i = 0; i < m->n_trackers; i++) {
        if (i == 0 || m->trackers[i].tier != m->trackers[i - 1].tier) {
            tier = json_array();
            json_array_append_new(tiers, tier);
        }
        json_array_append_new(tier, json_string(m->trackers[i].url));
    }
    return tiers;
}

static json_t *webseeds_json(const struct metainfo *m)
{
    json_t *seeds = json_array();
    for (uint32_t i = 0; i < m->n_webseeds; i++)
        json_array_append_new(seeds, json_string(m->webseeds[i].url));
    return seeds;
}

static int show_json(const struct metainfo *m)
{
    return print_json(json_pack("{s:s, s:s, s:o, s:o, s:I, s:I, s:I, s:b, s:o, s:o, s:o}", "name",
                                m->name, "version", torrent_version(m->has_v1, m->has_v2),
                                "infohash_v1", hex_or_null(m->has_v1, m->infohash_v1, SHA1_LEN),
                                "infohash_v2", hex_or_null(m->has_v2, m->infohash_v2, SHA256_LEN),
                                "piece_length", (json_int_t)m->piece_len, "n_pieces",
                                (json_int_t)m->n_pieces, "total_len", (json_int_t)m->total_len,
                                "private", (int)m->is_private, "files", files_json(m), "trackers",
                                trackers_json(m), "webseeds", webseeds_json(m)));
}

static void print_field(const char *name, const char *text)
{
    if (!text)
        return;
    printf("%-13s ", name);
    torrent_print_text(stdout, text);
    putchar('\n');
}

static void print_hash(const char *name, bool has, const uint8_t *hash, size_t len)
{
    char hex[2 * SHA256_LEN + 1];
    if (has)
        print_field(name, hex_encode(bytes_of(hash, len), hex, sizeof hex));
}

static void print_date(const struct metainfo *m)
{
    char text[UI_NUMBER_CAP];
    if (m->has_creation_date && *ui_date(m->creation_date, text))
        print_field("created", text);
}

static void print_files(const struct metainfo *m)
{
    char size[UI_NUMBER_CAP], attr[5];
    printf("files\n");
    for (uint32_t i = 0; i < m->n_files; i++) {
        const struct metainfo_file *f = &m->files[i];
        if (f->flags & FILE_PAD)
            continue;
        printf("  %10s  %-2s ", ui_size(f->len, size), attr_text(f->flags, attr));
        torrent_print_text(stdout, f->path);
        if (f->symlink) {
            printf(" -> ");
            torrent_print_text(stdout, f->symlink);
        }
        putchar('\n');
    }
}

static int show_text(const struct metainfo *m)
{
    char size[UI_NUMBER_CAP], piece[UI_NUMBER_CAP];
    print_field("name", m->name);
    print_field("version", torrent_version(m->has_v1, m->has_v2));
    print_hash("info-hash v1", m->has_v1, m->infohash_v1, SHA1_LEN);
    print_hash("info-hash v2", m->has_v2, m->infohash_v2, SHA256_LEN);
    printf("%-13s %s (%llu bytes)\n", "size", ui_size(m->layout.data_len, size),
           (unsigned long long)m->layout.data_len);
    printf("%-13s %u of %s\n", "pieces", m->n_pieces, ui_size(m->piece_len, piece));
    if (m->has_v2 && !m->has_piece_layers)
        print_field("piece layers", "absent (peers have them)");
    print_field("private", m->is_private ? "yes" : "no");
    for (uint32_t i = 0; i < m->n_trackers; i++) {
        printf("%-13s tier %u: ", "tracker", m->trackers[i].tier + 1);
        torrent_print_text(stdout, m->trackers[i].url);
        putchar('\n');
    }
    for (uint32_t i = 0; i < m->n_webseeds; i++)
        print_field("web seed", m->webseeds[i].url);
    print_field("comment", m->comment);
    print_field("source", m->source);
    print_field("created by", m->created_by);
    print_date(m);
    print_files(m);
    return fflush(stdout) == 0 ? EXIT_OK : ui_fail("standard output: cannot write");
}

static int show_file(const char *path, bool is_json)
{
    struct mem mem;
    struct metainfo *m;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    if (!torrent_file_read(path, &mem, &m))
        return EXIT_FAIL;
    int code = is_json ? show_json(m) : show_text(m);
    metainfo_free(m);
    return code;
}

/* --- a magnet link --------------------------------------------------------------------------- */

static json_t *strings_json(const char *const *list, uint32_t n, bool are_tiers)
{
    json_t *out = json_array();
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(out, are_tiers ? json_pack("[s]", list[i]) : json_string(list[i]));
    return out;
}

/* What a link does not tell is null. */
static int magnet_json(const struct magnet *m)
{
    return print_json(json_pack("{s:s?, s:s, s:o, s:o, s:n, s:n, s:o, s:n, s:[], s:o, s:o}", "name",
                                m->name, "version", torrent_version(m->has_v1, m->has_v2),
                                "infohash_v1", hex_or_null(m->has_v1, m->infohash_v1, SHA1_LEN),
                                "infohash_v2", hex_or_null(m->has_v2, m->infohash_v2, SHA256_LEN),
                                "piece_length", "n_pieces", "total_len",
                                m->len ? json_integer((json_int_t)m->len) : json_null(), "private",
                                "files", "trackers", strings_json(m->trackers, m->n_trackers, true),
                                "webseeds", strings_json(m->webseeds, m->n_webseeds, false)));
}

static int magnet_text(const struct magnet *m)
{
    char size[UI_NUMBER_CAP];
    print_field("name", m->name ? m->name : "(not given)");
    print_field("version", torrent_version(m->has_v1, m->has_v2));
    print_hash("info-hash v1", m->has_v1, m->infohash_v1, SHA1_LEN);
    print_hash("info-hash v2", m->has_v2, m->infohash_v2, SHA256_LEN);
    if (m->len)
        print_field("size", ui_size(m->len, size));
    for (uint32_t i = 0; i < m->n_trackers; i++)
        print_field("tracker", m->trackers[i]);
    for (uint32_t i = 0; i < m->n_webseeds; i++)
        print_field("web seed", m->webseeds[i]);
    for (uint32_t i = 0; i < m->n_peers; i++)
        printf("%-13s %s:%u\n", "peer", m->peers[i].host, m->peers[i].port);
    for (uint32_t i = 0; i < m->n_ranges; i++)
        printf("%-13s %u to %u\n", "files", m->ranges[i].first, m->ranges[i].last);
    return fflush(stdout) == 0 ? EXIT_OK : ui_fail("standard output: cannot write");
}

static int show_magnet(const char *link, bool is_json)
{
    struct mem mem;
    struct magnet m;
    struct err err = {0};
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    if (magnet_read(&m, bytes_of_str(link), &mem, &err))
        return ui_fail_err("magnet link", &err);
    int code = is_json ? magnet_json(&m) : magnet_text(&m);
    magnet_clear(&m);
    return code;
}

int cmd_show(int argc, char **argv)
{
    struct ui_options o;
    bool is_json = false;
    int n, i;
    ui_options_init(&o, "[OPTION...] FILE|MAGNET",
                    "Show what a .torrent file ('-': standard input) or a magnet link says.",
                    options, argc, argv);
    while ((i = ui_options_next(&o)) != UI_OPTION_END) {
        if (i == UI_OPTION_BAD)
            return EXIT_USAGE;
        is_json = true;
    }
    char **rest = ui_options_rest(&o, &n);
    if (n != 1)
        return ui_usage("show", n ? "show: one FILE or MAGNET at a time" : "show: no FILE given");
    return magnet_is_link(rest[0]) ? show_magnet(rest[0], is_json) : show_file(rest[0], is_json);
}
