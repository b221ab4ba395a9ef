/* tree_walk: folders wait in a list rather than on the stack; the files are sorted at the end. */
#include "store/tree_walk.h"
#include "base/size.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARENA_LEN_MAX ((size_t)1 << 30)

struct folder {
    struct folder *next, *parent;
    const char *path; /* below the top; "" for the top */
    uint32_t depth;
    dev_t dev; /* with ino: to see a link that leads round in a circle */
    ino_t ino;
};

struct walk {
    struct tree *tree;
    const struct tree_options *options;
    struct folder *folders; /* still to read */
    struct err *err;
};

static enum err_code fail_at(struct walk *w, const char *path, enum err_code code, const char *what)
{
    int saved = errno;
    w->tree->bad_path = arena_str(&w->tree->arena, bytes_of_str(path));
    return err_set_at(w->err, code, what, 0, code == ERR_IO ? (uint64_t)saved : 0, 0);
}

static enum err_code no_memory(struct walk *w)
{
    return err_set(w->err, ERR_NO_MEMORY, "no memory for a list of files");
}

static char *join(struct arena *arena, const char *dir, const char *name)
{
    size_t len = strlen(dir) + strlen(name) + 2;
    char *out = arena_alloc(arena, len);
    if (out)
        snprintf(out, len, "%s%s%s", dir, *dir ? "/" : "", name);
    return out;
}

/* --- one entry ------------------------------------------------------------------------------- */

static enum err_code add_file(struct walk *w, const char *path, const struct stat *st,
                              const char *symlink)
{
    struct tree *t = w->tree;
    if (t->n_files == METAINFO_N_FILES_MAX / 2)
        return fail_at(w, path, ERR_LIMIT, "too many files for one torrent");
    if (t->n_files == t->n_files_cap) {
        uint32_t cap = t->n_files_cap ? 2 * t->n_files_cap : 64;
        void *files = mem_realloc(t->mem, t->files, cap * sizeof *t->files);
        if (!files)
            return no_memory(w);
        t->files = files;
        t->n_files_cap = cap;
    }
    struct build_file *f = &t->files[t->n_files++];
    *f = (struct build_file){.path = path, .symlink = symlink};
    if (symlink) {
        f->flags = FILE_SYMLINK;
        return ERR_OK;
    }
    f->len = (uint64_t)st->st_size;
    f->flags = st->st_mode & S_IXUSR ? FILE_EXEC : 0;
    t->total_len += f->len;
    return ERR_OK;
}

/* Real path of a link's target below the top, or NULL when that is not inside. */
static const char *inside(const struct tree *t, const char *real)
{
    size_t len = strlen(t->top);
    if (strncmp(real, t->top, len) != 0 || real[len] != '/' || real[len + 1] == '\0')
        return NULL;
    return real + len + 1;
}

/* dir + "/" + target with "." and ".." worked out by name alone; false if it leaves the top. */
static bool join_by_name(const char *dir, const char *target, char out[PATH_MAX])
{
    char both[2 * PATH_MAX];
    size_t len = 0;
    if (*target == '/')
        return false;
    snprintf(both, sizeof both, "%s/%s", dir, target);
    for (const char *p = both; *p;) {
        size_t n = strcspn(p, "/");
        if (n == 2 && memcmp(p, "..", 2) == 0) {
            if (len == 0)
                return false;
            while (len > 0 && out[--len] != '/')
                ;
        } else if (n > 0 && !(n == 1 && *p == '.')) {
            if (len + n + 2 > PATH_MAX)
                return false;
            if (len > 0)
                out[len++] = '/';
            memcpy(out + len, p, n);
            len += n;
        }
        p += n + (p[n] == '/');
    }
    out[len] = '\0';
    return len > 0;
}

/* A link that stays inside is kept, as it is written if that means the same, else as it resolves.
 */
static enum err_code add_link(struct walk *w, const char *dir, const char *path, const char *full)
{
    struct tree *t = w->tree;
    char target[PATH_MAX], real[PATH_MAX], named[PATH_MAX], named_real[PATH_MAX];
    char named_full[2 * PATH_MAX];
    ssize_t n = readlink(full, target, sizeof target - 1);
    if (n < 0 || !realpath(full, real) || !inside(t, real)) {
        t->n_bad_links++;
        return ERR_OK;
    }
    target[n] = '\0';
    const char *kept = inside(t, real);
    if (join_by_name(dir, target, named)) {
        snprintf(named_full, sizeof named_full, "%s/%s", t->top, named);
        if (realpath(named_full, named_real) && strcmp(named_real, real) == 0)
            kept = named;
    }
    kept = arena_str(&t->arena, bytes_of_str(kept));
    return kept ? add_file(w, path, NULL, kept) : no_memory(w);
}

static bool is_circle(const struct folder *f, const struct stat *st)
{
    for (; f; f = f->parent)
        if (f->dev == st->st_dev && f->ino == st->st_ino)
            return true;
    return false;
}

static enum err_code add_folder(struct walk *w, struct folder *parent, const char *path,
                                const struct stat *st)
{
    if (parent && parent->depth == METAINFO_DIR_DEPTH_MAX)
        return fail_at(w, path, ERR_LIMIT, "folders are nested too deep for a torrent");
    struct folder *f = arena_calloc(&w->tree->arena, 1, sizeof *f);
    if (!f)
        return no_memory(w);
    *f = (struct folder){.next = w->folders,
                         .parent = parent,
                         .path = path,
                         .depth = parent ? parent->depth + 1 : 0,
                         .dev = st->st_dev,
                         .ino = st->st_ino};
    w->folders = f;
    return ERR_OK;
}

static enum err_code add_entry(struct walk *w, struct folder *dir, const char *name)
{
    struct tree *t = w->tree;
    struct stat st;
    const char *path = join(&t->arena, dir->path, name);
    const char *full = path ? join(&t->arena, t->top, path) : NULL;
    if (!full)
        return no_memory(w);
    if (lstat(full, &st) != 0)
        return fail_at(w, full, ERR_IO, "cannot look at the file");
    if (S_ISLNK(st.st_mode)) {
        if (!w->options->follow_links)
            return add_link(w, dir->path, path, full);
        if (stat(full, &st) != 0 || (S_ISDIR(st.st_mode) && is_circle(dir, &st))) {
            t->n_bad_links++;
            return ERR_OK;
        }
    }
    if (S_ISDIR(st.st_mode))
        return add_folder(w, dir, path, &st);
    if (S_ISREG(st.st_mode))
        return add_file(w, path, &st, NULL);
    t->n_special++;
    return ERR_OK;
}

/* --- the walk -------------------------------------------------------------------------------- */

static enum err_code read_folder(struct walk *w, struct folder *folder)
{
    const char *full = join(&w->tree->arena, w->tree->top, folder->path);
    DIR *dir = full ? opendir(full) : NULL;
    if (!full)
        return no_memory(w);
    if (!dir)
        return fail_at(w, full, ERR_IO, "cannot read the folder");
    enum err_code code = ERR_OK;
    struct dirent *e;
    errno = 0;
    while (!code && (e = readdir(dir))) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            code = add_entry(w, folder, e->d_name);
        errno = 0;
    }
    if (!code && errno)
        code = fail_at(w, full, ERR_IO, "cannot read the folder");
    closedir(dir);
    return code;
}

static int compare_by_path(const void *a, const void *b)
{
    return strcmp(((const struct build_file *)a)->path, ((const struct build_file *)b)->path);
}

/* As if '/' came before every other byte: a folder's name is then compared as a whole. */
static int compare_by_level(const void *a, const void *b)
{
    const uint8_t *p = (const uint8_t *)((const struct build_file *)a)->path;
    const uint8_t *q = (const uint8_t *)((const struct build_file *)b)->path;
    while (*p && *p == *q)
        p++, q++;
    int x = *p == '/' ? 1 : *p == 0 ? 0 : *p + 1, y = *q == '/' ? 1 : *q == 0 ? 0 : *q + 1;
    return x - y;
}

static enum err_code walk_all(struct walk *w)
{
    struct tree *t = w->tree;
    while (w->folders) {
        struct folder *f = w->folders;
        w->folders = f->next;
        enum err_code code = read_folder(w, f);
        if (code)
            return code;
    }
    if (t->n_files > 1)
        qsort(t->files, t->n_files, sizeof *t->files,
              w->options->order == TREE_BY_PATH ? compare_by_path : compare_by_level);
    return ERR_OK;
}

enum err_code tree_walk(struct tree *t, const char *path, const struct tree_options *options,
                        struct mem *mem, struct err *err)
{
    struct walk w = {.tree = t, .options = options, .err = err};
    char real[PATH_MAX];
    struct stat st;
    *t = (struct tree){.mem = mem};
    arena_init(&t->arena, mem, ARENA_LEN_MAX);
    if (!realpath(path, real) || stat(real, &st) != 0)
        return fail_at(&w, path, ERR_IO, "cannot find the path");
    t->top = arena_str(&t->arena, bytes_of_str(real));
    t->name = t->top ? strrchr(t->top, '/') + 1 : NULL;
    if (!t->name)
        return no_memory(&w);
    t->is_dir = S_ISDIR(st.st_mode);
    if (!t->is_dir && !S_ISREG(st.st_mode))
        return fail_at(&w, path, ERR_MALFORMED, "not a file and not a folder");
    enum err_code code =
        t->is_dir ? add_folder(&w, NULL, "", &st) : add_file(&w, t->name, &st, NULL);
    return code ? code : walk_all(&w);
}

void tree_clear(struct tree *t)
{
    if (!t->mem)
        return;
    mem_free(t->mem, t->files);
    arena_clear(&t->arena);
    *t = (struct tree){0};
}
