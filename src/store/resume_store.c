#include "store/resume_store.h"
#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#define DB_PATH_CAP     4096u
#define DB_VERSION      1    /* PRAGMA user_version */
#define BUSY_MS         5000 /* another process holds the database */
#define N_DAMAGED_MAX   100u
#define KEPT_DAMAGED_IN "damaged" /* resume.db.damaged-N */

struct resume_store {
    sqlite3 *db;
    pthread_mutex_t lock;
    char path[DB_PATH_CAP];
};

static enum err_code db_err(struct err *err, sqlite3 *db, const char *what)
{
    int code = db ? sqlite3_errcode(db) : SQLITE_NOMEM;
    if (code == SQLITE_NOMEM)
        return err_set(err, ERR_NO_MEMORY, what);
    int sys = db ? sqlite3_system_errno(db) : 0;
    if (code == SQLITE_FULL && sys == 0)
        sys = ENOSPC;
    if ((code & 0xff) == SQLITE_IOERR && sys == 0) /* not every call leaves its errno */
        sys = EIO;
    return err_set_at(err, ERR_IO, what, (uint64_t)code, (uint64_t)sys, 0);
}

/* SQLITE_ERROR: a schema that this library cannot read, or tables that are not there. READONLY: the
 * file says that it is from the future; the file system has its own errors for what it forbids. */
static bool is_damage(const struct resume_store *r, int code)
{
    switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
    case SQLITE_ERROR:
        return true;
    case SQLITE_READONLY:
        return access(r->path, W_OK) == 0;
    default:
        return false;
    }
}

/* --- where ----------------------------------------------------------------------------------- */

enum err_code resume_store_default_dir(char *out, size_t out_cap, struct err *err)
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    int n = -1;
    if (state && state[0] == '/') /* the XDG base directory specification: others are ignored */
        n = snprintf(out, out_cap, "%s/shoal", state);
    else if (home && home[0])
        n = snprintf(out, out_cap, "%s/.local/state/shoal", home);
    if (n < 0)
        return err_set(err, ERR_NOT_FOUND, "neither XDG_STATE_HOME nor HOME is set");
    if ((size_t)n >= out_cap)
        return err_set(err, ERR_LIMIT, "the name of the state folder is too long");
    return ERR_OK;
}

static void make_dirs(const char *dir)
{
    char path[DB_PATH_CAP];
    for (size_t i = 1; dir[0] && dir[i - 1] && i < sizeof path; i++) {
        if (dir[i] != '/' && dir[i] != 0)
            continue;
        memcpy(path, dir, i);
        path[i] = 0;
        mkdir(path, 0700); /* private, as the XDG specification asks */
    }
}

/* --- opening --------------------------------------------------------------------------------- */

static const char schema[] = "CREATE TABLE IF NOT EXISTS resume (key BLOB PRIMARY KEY NOT NULL,"
                             " data BLOB NOT NULL) WITHOUT ROWID;"
                             "CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY NOT NULL,"
                             " value BLOB NOT NULL) WITHOUT ROWID;"
                             "PRAGMA user_version = 1;";

static int read_version(sqlite3 *db, int *out)
{
    sqlite3_stmt *st;
    int code = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &st, NULL);
    if (code != SQLITE_OK)
        return code;
    code = sqlite3_step(st);
    if (code == SQLITE_ROW)
        *out = sqlite3_column_int(st, 0);
    sqlite3_finalize(st);
    return code == SQLITE_ROW ? SQLITE_OK : code;
}

/* A scan of the tree's shape: cheap, as the database holds only what cannot be fetched again. */
static int check_whole(sqlite3 *db)
{
    sqlite3_stmt *st;
    int code = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &st, NULL);
    if (code != SQLITE_OK)
        return code;
    code = sqlite3_step(st);
    bool is_ok = code == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(st, 0), "ok") == 0;
    sqlite3_finalize(st);
    if (is_ok)
        return SQLITE_OK;
    return code == SQLITE_ROW ? SQLITE_CORRUPT : code;
}

/* Are the tables there, with their columns, and can they be written? */
static int check_tables(sqlite3 *db)
{
    static const char *const all[] = {
        "INSERT INTO resume (key, data) SELECT key, data FROM resume WHERE 0",
        "INSERT INTO setting (name, value) SELECT name, value FROM setting WHERE 0"};
    int code = SQLITE_OK;
    for (size_t i = 0; i < sizeof all / sizeof *all && code == SQLITE_OK; i++)
        code = sqlite3_exec(db, all[i], NULL, NULL, NULL);
    return code;
}

/* An SQLite code; *out_version is what the file says. */
static int db_open(struct resume_store *r, int *out_version)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
    int code = sqlite3_open_v2(r->path, &r->db, flags, NULL);
    if (code != SQLITE_OK)
        return code;
    sqlite3_busy_timeout(r->db, BUSY_MS);
    /* With the log, NORMAL loses nothing when the process is killed, and nothing but the last
     * transactions when the power goes; the database stays whole in both. */
    code = sqlite3_exec(r->db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;", NULL,
                        NULL, NULL);
    if (code == SQLITE_OK)
        code = check_whole(r->db);
    if (code == SQLITE_OK)
        code = read_version(r->db, out_version);
    if (code == SQLITE_OK && *out_version == 0)
        code = sqlite3_exec(r->db, schema, NULL, NULL, NULL);
    if (code == SQLITE_OK && *out_version <= DB_VERSION)
        code = check_tables(r->db);
    return code;
}

/* The log goes, too: it belongs to the damaged file. */
static bool move_aside(const struct resume_store *r)
{
    char to[DB_PATH_CAP + 32], log[DB_PATH_CAP + 32];
    struct stat st;
    for (unsigned i = 1; i <= N_DAMAGED_MAX; i++) {
        snprintf(to, sizeof to, "%s.%s-%u", r->path, KEPT_DAMAGED_IN, i);
        if (i < N_DAMAGED_MAX && stat(to, &st) == 0)
            continue; /* the last number is used again and again */
        if (rename(r->path, to) < 0)
            return false;
        snprintf(log, sizeof log, "%s-wal", r->path);
        snprintf(to, sizeof to, "%s.%s-%u-wal", r->path, KEPT_DAMAGED_IN, i);
        rename(log, to); /* there may be none */
        snprintf(log, sizeof log, "%s-shm", r->path);
        remove(log);
        return true;
    }
    return false;
}

static enum err_code open_or_renew(struct resume_store *r, bool *out_was_damaged, struct err *err)
{
    int version = DB_VERSION;
    int code = db_open(r, &version);
    if (is_damage(r, code)) {
        sqlite3_close(r->db);
        r->db = NULL;
        *out_was_damaged = true;
        if (!move_aside(r))
            return err_set_at(err, ERR_IO, "cannot move the damaged resume database aside", 0,
                              (uint64_t)errno, 0);
        version = DB_VERSION;
        code = db_open(r, &version);
    }
    if (code != SQLITE_OK)
        return db_err(err, r->db, "cannot open the resume database");
    if (version > DB_VERSION)
        return err_set_at(err, ERR_UNSUPPORTED, "the resume database is from a newer version", 0,
                          (uint64_t)version, DB_VERSION);
    return ERR_OK;
}

enum err_code resume_store_open(struct resume_store **out, const char *dir, bool *out_was_damaged,
                                struct err *err)
{
    bool was_damaged = false;
    *out = NULL;
    struct resume_store *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(err, ERR_NO_MEMORY, "no memory for the resume database");
    pthread_mutex_init(&r->lock, NULL);
    make_dirs(dir);
    enum err_code code = ERR_OK;
    if ((size_t)snprintf(r->path, sizeof r->path, "%s/resume.db", dir) >= sizeof r->path)
        code = err_set(err, ERR_LIMIT, "the name of the state folder is too long");
    if (code == ERR_OK)
        code = open_or_renew(r, &was_damaged, err);
    if (out_was_damaged)
        *out_was_damaged = was_damaged;
    if (code) {
        resume_store_close(r);
        return code;
    }
    *out = r;
    return ERR_OK;
}

void resume_store_close(struct resume_store *r)
{
    if (!r)
        return;
    sqlite3_close(r->db);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* --- use ------------------------------------------------------------------------------------- */

/* Runs one statement with up to two blobs; the first column of its row, if any, goes to out. */
static enum err_code run(struct resume_store *r, const char *sql, struct bytes a, struct bytes b,
                         struct buf *out, struct err *err)
{
    sqlite3_stmt *st;
    if (sqlite3_prepare_v2(r->db, sql, -1, &st, NULL) != SQLITE_OK)
        return db_err(err, r->db, "cannot read the resume database");
    int n = sqlite3_bind_parameter_count(st);
    if (n >= 1)
        sqlite3_bind_blob64(st, 1, a.len ? (const void *)a.data : "", a.len, SQLITE_STATIC);
    if (n >= 2)
        sqlite3_bind_blob64(st, 2, b.len ? (const void *)b.data : "", b.len, SQLITE_STATIC);
    int code = sqlite3_step(st);
    enum err_code result = ERR_OK;
    if (code == SQLITE_ROW && out) {
        buf_put(out, bytes_of(sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0)));
        result = out->err;
    } else if (code == SQLITE_DONE && out) {
        result = err_set(err, ERR_NOT_FOUND, "not in the resume database");
    } else if (code != SQLITE_DONE && code != SQLITE_ROW) {
        result =
            db_err(err, r->db,
                   out ? "cannot read the resume database" : "cannot write the resume database");
    }
    sqlite3_finalize(st);
    return result;
}

static enum err_code run_locked(struct resume_store *r, const char *sql, struct bytes a,
                                struct bytes b, struct buf *out, struct err *err)
{
    pthread_mutex_lock(&r->lock);
    enum err_code code = run(r, sql, a, b, out, err);
    pthread_mutex_unlock(&r->lock);
    return code;
}

enum err_code resume_store_put(struct resume_store *r, struct bytes key, struct bytes resume,
                               bool is_final, struct err *err)
{
    if (key.len > RESUME_KEY_LEN_MAX || resume.len > RESUME_LEN_MAX)
        return err_set_at(err, ERR_LIMIT, "resume data is too long", 0, resume.len, RESUME_LEN_MAX);
    pthread_mutex_lock(&r->lock);
    if (is_final) /* the log is synced with this transaction, and so are all before it */
        sqlite3_exec(r->db, "PRAGMA synchronous = FULL", NULL, NULL, NULL);
    enum err_code code =
        run(r, "INSERT OR REPLACE INTO resume (key, data) VALUES (?, ?)", key, resume, NULL, err);
    if (is_final)
        sqlite3_exec(r->db, "PRAGMA synchronous = NORMAL", NULL, NULL, NULL);
    pthread_mutex_unlock(&r->lock);
    return code;
}

enum err_code resume_store_get(struct resume_store *r, struct bytes key, struct buf *out,
                               struct err *err)
{
    return run_locked(r, "SELECT data FROM resume WHERE key = ?", key, (struct bytes){0}, out, err);
}

enum err_code resume_store_delete(struct resume_store *r, struct bytes key, struct err *err)
{
    return run_locked(r, "DELETE FROM resume WHERE key = ?", key, (struct bytes){0}, NULL, err);
}

enum err_code resume_store_count(struct resume_store *r, uint64_t *out, struct err *err)
{
    sqlite3_stmt *st;
    enum err_code code = ERR_OK;
    pthread_mutex_lock(&r->lock);
    if (sqlite3_prepare_v2(r->db, "SELECT count(*) FROM resume", -1, &st, NULL) != SQLITE_OK ||
        sqlite3_step(st) != SQLITE_ROW)
        code = db_err(err, r->db, "cannot read the resume database");
    else
        *out = (uint64_t)sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    pthread_mutex_unlock(&r->lock);
    return code;
}

enum err_code resume_store_set(struct resume_store *r, const char *name, struct bytes value,
                               struct err *err)
{
    return run_locked(r, "INSERT OR REPLACE INTO setting (name, value) VALUES (CAST(? AS TEXT), ?)",
                      bytes_of_str(name), value, NULL, err);
}

enum err_code resume_store_setting(struct resume_store *r, const char *name, struct buf *out,
                                   struct err *err)
{
    return run_locked(r, "SELECT value FROM setting WHERE name = CAST(? AS TEXT)",
                      bytes_of_str(name), (struct bytes){0}, out, err);
}
