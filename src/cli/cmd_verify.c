/* shoal verify: compares data on disk with a torrent, and says which files and pieces are bad. */
#include "cli/cli.h"
#include "cli/torrent_file.h"
#include "cli/ui.h"
#include "store/verify_files.h"
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>

static const struct ui_option options[] = {
    {"json", 'j', NULL, "one JSON object"},
    {"threads", 0, "N", "hash with N threads (default: one per core)"},
    {0},
};

enum { OPT_JSON, OPT_THREADS };

static const char *const state_names[] = {
    [HASH_FILE_OK] = "bad",
    [HASH_FILE_ABSENT] = "absent",
    [HASH_FILE_WRONG_LEN] = "wrong length",
    [HASH_FILE_WRONG_KIND] = "wrong kind",
    [HASH_FILE_FAILED] = "unreadable",
};

/* The handler's only way to the job. */
static atomic_bool *cancel_flag;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    atomic_store(cancel_flag, true);
}

static void show_progress(void *ctx, uint64_t done_len, uint64_t total_len)
{
    char done[UI_NUMBER_CAP], total[UI_NUMBER_CAP];
    (void)ctx;
    ui_progress("verifying %3u%%  %s of %s",
                (unsigned)(total_len ? 100.0 * (double)done_len / (double)total_len : 0),
                ui_size(done_len, done), ui_size(total_len, total));
}

static const char *file_state(const struct verify_files *v, uint32_t file)
{
    return v->is_bad_file[file] ? state_names[atomic_load(&v->hash.files[file].state)] : "good";
}

/* --- text ------------------------------------------------------------------------------------ */

/* "3, 5-9, 12" */
static void print_pieces(const struct verify_files *v, uint32_t file)
{
    uint32_t first, last;
    const char *before = "";
    if (!layout_file_pieces(&v->hash.info->layout, file, &first, &last))
        return;
    for (uint32_t i = first; i <= last; i++) {
        uint32_t end = i;
        if (v->pieces[i] == VERIFY_GOOD)
            continue;
        while (end < last && v->pieces[end + 1] != VERIFY_GOOD)
            end++;
        printf(end > i ? "%s%u-%u" : "%s%u", before, i, end);
        before = ", ";
        i = end;
    }
}

static void print_file(const struct verify_files *v, uint32_t file)
{
    const struct metainfo_file *f = &v->hash.info->files[file];
    const struct hash_file *h = &v->hash.files[file];
    uint32_t n_bad;
    torrent_print_text(stdout, f->path);
    printf(": %s", file_state(v, file));
    if (atomic_load(&h->state) == HASH_FILE_WRONG_LEN)
        printf(" (%llu bytes, want %llu)", (unsigned long long)h->len, (unsigned long long)f->len);
    if (atomic_load(&h->state) == HASH_FILE_FAILED)
        printf(" (%s)", strerror(atomic_load(&h->err_no)));
    if (verify_files_count(v, file, &n_bad) && n_bad > 0) {
        printf(", piece%s ", n_bad == 1 ? "" : "s");
        print_pieces(v, file);
    }
    putchar('\n');
}

static void report_text(const struct verify_files *v)
{
    const struct metainfo *m = v->hash.info;
    uint32_t n_files = 0;
    for (uint32_t i = 0; i < m->n_files; i++) {
        n_files += !(m->files[i].flags & FILE_PAD);
        if (v->is_bad_file[i])
            print_file(v, i);
    }
    if (v->n_bad_files == 0)
        printf("%s: all good (pieces: %u, files: %u)\n", m->name, m->n_pieces, n_files);
    else
        printf("%s: %u of %u pieces are bad or missing, %u of %u files\n", m->name,
               v->n_bad + v->n_missing, m->n_pieces, v->n_bad_files, n_files);
}

/* --- JSON ------------------------------------------------------------------------------------ */

static json_t *piece_list(const struct verify_files *v, enum verify_state state)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < v->hash.info->n_pieces; i++)
        if (v->pieces[i] == state)
            json_array_append_new(list, json_integer(i));
    return list;
}

static json_t *file_list(const struct verify_files *v)
{
    const struct metainfo *m = v->hash.info;
    json_t *list = json_array();
    for (uint32_t i = 0; i < m->n_files; i++) {
        uint32_t n_bad;
        if (m->files[i].flags & FILE_PAD)
            continue;
        verify_files_count(v, i, &n_bad);
        json_array_append_new(list, json_pack("{s:s, s:I, s:s, s:I}", "path", m->files[i].path,
                                              "len", (json_int_t)m->files[i].len, "state",
                                              file_state(v, i), "n_bad_pieces", (json_int_t)n_bad));
    }
    return list;
}

static void report_json(const struct verify_files *v)
{
    const struct metainfo *m = v->hash.info;
    json_t *o = json_pack("{s:s, s:b, s:I, s:o, s:o, s:o}", "name", m->name, "good",
                          v->n_bad_files == 0 && v->n_bad + v->n_missing == 0, "n_pieces",
                          (json_int_t)m->n_pieces, "bad_pieces", piece_list(v, VERIFY_BAD),
                          "missing_pieces", piece_list(v, VERIFY_MISSING), "files", file_list(v));
    json_dumpf(o, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    putchar('\n');
    json_decref(o);
}

/* ----------------------------------------------------------------------------------------------------------- */

/* PATH is the folder that holds the torrent's top file or folder, or that itself. False: reported. */
static bool find_top(const struct metainfo *m, const char *path, char out[PATH_MAX])
{
    struct stat st;
    struct err err = {.code = ERR_IO, .what = "cannot look there"};
    int n = snprintf(out, PATH_MAX, "%s/%s", path, m->name);
    if (stat(path, &st) != 0 || n < 0 || n >= PATH_MAX) {
        err.got = n < PATH_MAX ? (uint64_t)errno : ENAMETOOLONG;
        ui_fail_err(path, &err);
        return false;
    }
    if (!S_ISDIR(st.st_mode)) {
        snprintf(out, PATH_MAX, "%s", path); /* the file itself */
        return true;
    }
    if (m->is_multi_file && (stat(out, &st) != 0 || !S_ISDIR(st.st_mode)))
        snprintf(out, PATH_MAX, "%s", path);
    return true;
}

static int verify(const struct metainfo *m, struct verify_files *v, bool is_json)
{
    struct err err = {0};
    cancel_flag = &v->hash.is_cancelled;
    signal(SIGINT, on_interrupt);
    signal(SIGTERM, on_interrupt);
    enum err_code code = verify_files_run(v, &err);
    ui_progress_end();
    if (code == ERR_CANCELLED)
        return ui_fail("%s: interrupted", m->name), EXIT_INCOMPLETE;
    if (code)
        return ui_fail_err(m->name, &err);
    if (is_json)
        report_json(v);
    else
        report_text(v);
    if (fflush(stdout) != 0)
        return ui_fail("standard output: cannot write");
    return v->n_bad_files || v->n_bad + v->n_missing ? EXIT_FAIL : EXIT_OK;
}

static int run(const char *torrent, const char *path, bool is_json, unsigned n_threads)
{
    struct mem mem;
    struct metainfo *m;
    char top[PATH_MAX];
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    if (!torrent_file_read(torrent, &mem, &m))
        return EXIT_FAIL;
    struct verify_files v = {
        .hash = {
            .info = m, .top = top, .mem = &mem, .n_threads = n_threads, .progress = show_progress}};
    int code = find_top(m, path, top) ? verify(m, &v, is_json) : EXIT_FAIL;
    verify_files_clear(&v);
    metainfo_free(m);
    return code;
}

int cmd_verify(int argc, char **argv)
{
    struct ui_options o;
    bool is_json = false;
    uint64_t n_threads = 0;
    int n, i;
    ui_options_init(
        &o, "[OPTION...] TORRENT PATH",
        "Compare the data below PATH with TORRENT, using all cores. PATH is the folder\n"
        "that the torrent was saved in, or its data itself. Exit code 0: all good;\n"
        "1: something is bad or missing.",
        options, argc, argv);
    while ((i = ui_options_next(&o)) != UI_OPTION_END) {
        if (i == UI_OPTION_BAD || (i == OPT_THREADS && !ui_read_u64(&o, 1, 256, &n_threads)))
            return EXIT_USAGE;
        is_json = is_json || i == OPT_JSON;
    }
    char **rest = ui_options_rest(&o, &n);
    if (n != 2)
        return ui_usage("verify", "verify: TORRENT and PATH are needed");
    return run(rest[0], rest[1], is_json, (unsigned)n_threads);
}
