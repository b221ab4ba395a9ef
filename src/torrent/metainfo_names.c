/* metainfo_names: a tree of names kept as one map from (parent node, element) to node. Elements
 * enter the key as a 64-bit keyed hash and a length; the seed comes from the torrent's own hash,
 * so that nobody can choose two names that meet. */
#include "torrent/metainfo_names.h"
#include "torrent/path_sanitize.h"

#define NODE_NONE      UINT32_MAX
#define NODE_ROOT      0u
#define FILE_NONE      UINT32_MAX /* the node is a folder */
#define N_NODES_MAX    4000000u   /* above the number of values in a bencoded file */
#define LINK_STEPS_MAX 1000000u   /* ours: elements looked up for all links of a torrent */
#define OTHER_CAP      4096u      /* PATH_MAX */
#define LINK_HOPS_MAX  40u        /* as Linux (MAXSYMLINKS) */

struct node_key {
    uint64_t hash;
    uint32_t parent, len;
};

struct names {
    struct metainfo_file *files;
    uint32_t n_files, n_nodes, n_collisions, n_steps;
    struct arena *arena;
    struct map children;   /* node_key -> node */
    struct map node_files; /* node -> file + 1; absent: a folder */
    struct map_seed seed;
};

/* --- the tree -------------------------------------------------------------------------------- */

static struct node_key key_of(const struct names *t, uint32_t parent, struct bytes elem)
{
    return (struct node_key){map_hash(t->seed, elem.data, elem.len), parent, (uint32_t)elem.len};
}

static uint32_t find_child(const struct names *t, uint32_t parent, struct bytes elem)
{
    struct node_key key = key_of(t, parent, elem);
    const uint32_t *node = map_get(&t->children, &key);
    return node ? *node : NODE_NONE;
}

/* Finds or makes; NODE_NONE: no memory. */
static uint32_t add_child(struct names *t, uint32_t parent, struct bytes elem, bool *out_is_new)
{
    struct node_key key = key_of(t, parent, elem);
    uint32_t *node = map_put(&t->children, &key, out_is_new);
    if (!node)
        return NODE_NONE;
    if (*out_is_new)
        *node = ++t->n_nodes;
    return *node;
}

static uint32_t file_of(const struct names *t, uint32_t node)
{
    const uint32_t *file = map_get(&t->node_files, &node);
    return file ? *file - 1 : FILE_NONE;
}

/* The next element of a path; false at its end. */
static bool next_elem(struct bytes *path, struct bytes *out)
{
    if (path->len == 0)
        return false;
    const uint8_t *slash = memchr(path->data, '/', path->len);
    size_t len = slash ? (size_t)(slash - path->data) : path->len;
    *out = bytes_sub(*path, 0, len);
    *path = bytes_sub(*path, slash ? len + 1 : len, path->len);
    return true;
}

/* --- collisions ------------------------------------------------------------------------------ */

static enum err_code no_memory(struct err *err)
{
    return err_set(err, ERR_NO_MEMORY, "no memory for the file names of a torrent");
}

/* The folders of the path before: neighbours in a list mostly share them. */
struct trail {
    const char *path;
    uint32_t n;
    uint32_t nodes[METAINFO_DIR_DEPTH_MAX + 2];
    size_t ends[METAINFO_DIR_DEPTH_MAX + 2]; /* behind each folder's '/' */
};

/* Cuts the trail to the folders that path has as well; gives the last of them. */
static uint32_t trail_follow(struct trail *trail, const char *path, size_t *out_off)
{
    uint32_t n = 0;
    size_t off = 0;
    while (n < trail->n && strncmp(trail->path + off, path + off, trail->ends[n] - off) == 0)
        off = trail->ends[n++];
    trail->path = path;
    trail->n = n;
    *out_off = off;
    return n > 0 ? trail->nodes[n - 1] : NODE_ROOT;
}

static uint32_t add_folders_of(struct names *t, struct trail *trail, const char *path)
{
    size_t off;
    uint32_t node = trail_follow(trail, path, &off);
    struct bytes rest = bytes_of_str(path + off), elem;
    bool is_new;
    while (next_elem(&rest, &elem) && rest.len > 0) {
        node = add_child(t, node, elem, &is_new);
        if (node == NODE_NONE)
            return NODE_NONE;
        trail->nodes[trail->n] = node;
        trail->ends[trail->n++] = (size_t)((const char *)rest.data - path);
    }
    return node;
}

/* All folders first: a file must not take the place of a folder that comes after it. */
static enum err_code add_folders(struct names *t, uint32_t *parents, struct err *err)
{
    struct trail trail = {0};
    for (uint32_t i = 0; i < t->n_files; i++) {
        if (t->files[i].flags & FILE_PAD)
            continue;
        parents[i] = add_folders_of(t, &trail, t->files[i].path);
        if (parents[i] == NODE_NONE)
            return no_memory(err);
    }
    return ERR_OK;
}

static size_t last_elem_off(struct bytes path)
{
    const uint8_t *slash = memrchr(path.data, '/', path.len);
    return slash ? (size_t)(slash - path.data) + 1 : 0;
}

/* "dir/name.N.ext" */
static char *numbered(struct names *t, struct bytes path, uint32_t number)
{
    char middle[16];
    size_t ext_off = path_ext_off(path);
    size_t n = (size_t)snprintf(middle, sizeof middle, ".%u", number);
    char *out = arena_alloc(t->arena, path.len + n + 1);
    if (!out)
        return NULL;
    memcpy(out, path.data, ext_off);
    memcpy(out + ext_off, middle, n);
    memcpy(out + ext_off + n, path.data + ext_off, path.len - ext_off);
    out[path.len + n] = '\0';
    return out;
}

static enum err_code place_file(struct names *t, uint32_t file, uint32_t parent, struct err *err)
{
    struct bytes path = bytes_of_str(t->files[file].path);
    size_t off = last_elem_off(path);
    const char *placed = t->files[file].path;
    bool is_new = false;
    uint32_t node = add_child(t, parent, bytes_sub(path, off, path.len - off), &is_new);
    for (uint32_t number = 1; node != NODE_NONE && !is_new; number++) {
        if (++t->n_collisions > METAINFO_N_COLLISIONS_MAX)
            return err_set_at(err, ERR_LIMIT, "too many files of one torrent have the same path",
                              file, t->n_collisions, METAINFO_N_COLLISIONS_MAX);
        placed = numbered(t, path, number);
        if (!placed)
            return no_memory(err);
        node = add_child(t, parent, bytes_of_str(placed + off), &is_new);
    }
    uint32_t *slot = node == NODE_NONE ? NULL : map_put(&t->node_files, &node, &is_new);
    if (!slot)
        return no_memory(err);
    *slot = file + 1;
    t->files[file].path = placed;
    return ERR_OK;
}

/* --- symlinks -------------------------------------------------------------------------------- */

/* Follows a path from the top as the system would, through the torrent's own links. True when it
 * ends at something other than a link. */
static bool path_resolves(struct names *t, const char *target)
{
    struct bytes stack[LINK_HOPS_MAX + 1], elem; /* what is left, innermost last */
    uint32_t depth = 1, n_hops = 0, node = NODE_ROOT;
    stack[0] = bytes_of_str(target);
    while (depth > 0) {
        if (!next_elem(&stack[depth - 1], &elem)) {
            depth--;
            continue;
        }
        if (++t->n_steps > LINK_STEPS_MAX)
            return false;
        node = find_child(t, node, elem);
        if (node == NODE_NONE)
            return false;
        uint32_t file = file_of(t, node);
        if (file == FILE_NONE || !(t->files[file].flags & FILE_SYMLINK))
            continue;
        if (++n_hops > LINK_HOPS_MAX)
            return false;
        stack[depth++] = bytes_of_str(t->files[file].symlink);
        node = NODE_ROOT;
    }
    return node != NODE_ROOT;
}

/* Some programs wrote targets relative to the folder of the link, not of the torrent:
 * "dir/target". False when that is longer than any path we would make. */
static bool beside_link(const struct metainfo_file *link, char out[OTHER_CAP])
{
    struct bytes path = bytes_of_str(link->path), target = bytes_of_str(link->symlink), top;
    size_t dir_len = last_elem_off(path);
    next_elem(&target, &top);
    if (dir_len + target.len >= OTHER_CAP)
        return false;
    memcpy(out, path.data, dir_len);
    memcpy(out + dir_len, target.data, target.len);
    out[dir_len + target.len] = '\0';
    return true;
}

/* One link: is it good as it is, or when read the other way? */
static enum err_code settle_link(struct names *t, struct metainfo_file *link, bool *out_is_good,
                                 struct err *err)
{
    char other[OTHER_CAP];
    *out_is_good = path_resolves(t, link->symlink);
    if (*out_is_good || !beside_link(link, other))
        return ERR_OK;
    const char *as_read = link->symlink;
    link->symlink = other;
    *out_is_good = path_resolves(t, other);
    link->symlink = *out_is_good ? arena_str(t->arena, bytes_of_str(other)) : as_read;
    return link->symlink ? ERR_OK : no_memory(err);
}

/* Links lead through other links, so what one pass settles may let the next one settle more. */
static enum err_code settle_links(struct names *t, struct err *err)
{
    uint32_t n_bad = t->n_files, n_before;
    bool is_good;
    do {
        n_before = n_bad;
        n_bad = 0;
        for (uint32_t i = 0; i < t->n_files; i++) {
            if (!(t->files[i].flags & FILE_SYMLINK))
                continue;
            enum err_code code = settle_link(t, &t->files[i], &is_good, err);
            if (code)
                return code;
            n_bad += !is_good;
        }
    } while (n_bad > 0 && n_bad < n_before && t->n_steps < LINK_STEPS_MAX);
    return ERR_OK;
}

static void drop_bad_links(struct names *t, bool *is_good)
{
    for (uint32_t i = 0; i < t->n_files; i++)
        is_good[i] = !(t->files[i].flags & FILE_SYMLINK) || path_resolves(t, t->files[i].symlink);
    for (uint32_t i = 0; i < t->n_files; i++)
        if (!is_good[i]) {
            t->files[i].flags &= (uint8_t)~FILE_SYMLINK;
            t->files[i].symlink = NULL;
        }
}

/* ----------------------------------------------------------------------------------------------- */

static bool has_links(const struct names *t)
{
    for (uint32_t i = 0; i < t->n_files; i++)
        if (t->files[i].flags & FILE_SYMLINK)
            return true;
    return false;
}

static enum err_code resolve(struct names *t, struct mem *mem, uint32_t *parents, struct err *err)
{
    enum err_code code = add_folders(t, parents, err);
    for (uint32_t i = 0; i < t->n_files && !code; i++)
        if (!(t->files[i].flags & FILE_PAD))
            code = place_file(t, i, parents[i], err);
    if (code || !has_links(t))
        return code;
    bool *is_good = mem_calloc(mem, t->n_files, sizeof *is_good);
    if (!is_good)
        return no_memory(err);
    code = settle_links(t, err);
    t->n_steps = 0;
    if (!code)
        drop_bad_links(t, is_good);
    mem_free(mem, is_good);
    return code;
}

enum err_code metainfo_resolve_names(struct metainfo_file *files, uint32_t n_files,
                                     struct arena *arena, struct mem *mem, struct map_seed seed,
                                     struct err *err)
{
    struct names t = {.files = files, .n_files = n_files, .arena = arena, .seed = seed};
    map_init(&t.children, mem, seed, sizeof(struct node_key), sizeof(uint32_t), N_NODES_MAX);
    map_init(&t.node_files, mem, seed, sizeof(uint32_t), sizeof(uint32_t), N_NODES_MAX);
    uint32_t *parents = mem_calloc(mem, n_files, sizeof *parents);
    enum err_code code = parents ? resolve(&t, mem, parents, err) : no_memory(err);
    mem_free(mem, parents);
    map_clear(&t.children);
    map_clear(&t.node_files);
    return code;
}
