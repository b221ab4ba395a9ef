/* bitcoin_vectors DIR [PATTERN]: runs every vector file below DIR whose kind is known.
 *
 * The folder and the file's name say which check it is. One line per file: how many cases held and
 * how many did not, or "no check"; failed cases are named above it. Exits 1 when a case failed or a
 * file could not be read, 2 when it cannot run at all. PATTERN (as in a shell) picks files.
 */
#include "vec.h"
#include <fnmatch.h>
#include <ftw.h>

/* One line per folder. */
static const struct vec_check *const folders[] = {
    vec_address_checks, vec_bip54_checks, vec_blocks_checks,  vec_blockscripts_checks,
    vec_filters_checks, vec_hash_checks,  vec_headers_checks, vec_keys_checks,
    vec_psbt_checks,    vec_rpc_checks,   vec_script_checks,  vec_tx_checks,
};

#define N_FILES_MAX 4096u
#define ARENA_MAX   (2048ull << 20)

/* nftw gives its callback nothing of ours. */
static char *paths[N_FILES_MAX];
static size_t n_paths;

static int note_path(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)where;
    if (kind == FTW_F && n_paths < N_FILES_MAX)
        paths[n_paths++] = strdup(path);
    return 0;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static const struct vec_check *find_check(const char *name)
{
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        for (const struct vec_check *c = folders[i]; c->pattern; c++) {
            if (fnmatch(c->pattern, name, 0) == 0)
                return c;
        }
    }
    return NULL;
}

/* Failed cases. */
static uint64_t run_check(const char *dir, const char *name, const struct vec_check *check)
{
    struct vec v = {.dir = dir, .name = name};
    mem_init(&v.mem, MEM_NO_BUDGET, NULL);
    arena_init(&v.arena, &v.mem, ARENA_MAX);
    v.data = vec_sibling(&v, 0, "");
    if (v.data.data)
        check->run(&v);
    else
        vec_case(&v, false, "cannot be read");
    printf("%s %llu passed, %llu failed\n", name, (unsigned long long)v.n_passed,
           (unsigned long long)v.n_failed);
    fflush(stdout);
    json_decref(v.json);
    arena_clear(&v.arena);
    mem_check_empty(&v.mem);
    return v.n_failed;
}

static uint64_t run_file(const char *dir, const char *name)
{
    const struct vec_check *check = find_check(name);
    if (check && check->run)
        return run_check(dir, name, check);
    printf("%s %s\n", name, check ? "read with another file" : "no check");
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t n_failed = 0;
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: bitcoin_vectors DIR [PATTERN]\n");
        return 2;
    }
    size_t dir_len = strlen(argv[1]);
    while (dir_len > 1 && argv[1][dir_len - 1] == '/')
        argv[1][--dir_len] = 0;
    if (nftw(argv[1], note_path, 16, FTW_PHYS) != 0) {
        fprintf(stderr, "bitcoin_vectors: %s cannot be read\n", argv[1]);
        return 2;
    }
    qsort(paths, n_paths, sizeof *paths, compare_paths);
    for (size_t i = 0; i < n_paths; i++) {
        const char *name = paths[i] + dir_len + 1;
        bool is_readme = strncmp(name, "README", 6) == 0 || strstr(name, "/README");
        if (!is_readme && (argc < 3 || fnmatch(argv[2], name, 0) == 0))
            n_failed += run_file(argv[1], name);
        free(paths[i]);
    }
    return n_failed > 0;
}
