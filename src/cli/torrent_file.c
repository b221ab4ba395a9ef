#include "cli/torrent_file.h"
#include "base/utf8.h"
#include "cli/ui.h"
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err_code read_all(const char *path, struct buf *out, struct err *err)
{
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *f = is_stdin ? stdin : fopen(path, "rb");
    struct stat st;
    if (!f)
        return err_set_at(err, ERR_IO, "cannot open", 0, (uint64_t)errno, 0);
    if (fstat(fileno(f), &st) == 0 && S_ISDIR(st.st_mode)) {
        fclose(f);
        return err_set_at(err, ERR_IO, "cannot read", 0, EISDIR, 0);
    }
    char part[1 << 16];
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0 && !out->err;)
        buf_put(out, bytes_of(part, n));
    int failed = ferror(f) ? errno : 0;
    if (!is_stdin)
        fclose(f);
    if (failed)
        return err_set_at(err, ERR_IO, "cannot read", 0, (uint64_t)failed, 0);
    if (out->err)
        return err_set_at(err, out->err, "longer than a .torrent file may be", 0, out->len,
                          TORRENT_FILE_LEN_MAX);
    return ERR_OK;
}

bool torrent_file_read(const char *path, struct mem *mem, struct metainfo **out)
{
    struct buf file;
    struct err err = {0};
    buf_init(&file, mem, TORRENT_FILE_LEN_MAX);
    enum err_code code = read_all(path, &file, &err);
    if (!code)
        code = metainfo_read(out, buf_bytes(&file), mem, NULL, &err);
    buf_clear(&file);
    if (code)
        ui_fail_err(path, &err);
    return code == ERR_OK;
}

static bool write_all(FILE *f, struct bytes content)
{
    return fwrite(content.data, 1, content.len, f) == content.len && fflush(f) == 0;
}

static bool write_failed(const char *path, int err_no)
{
    struct err err = {.code = ERR_IO, .what = "cannot write", .got = (uint64_t)err_no};
    ui_fail_err(path, &err);
    return false;
}

bool torrent_file_write(const char *path, struct bytes content)
{
    char temp[PATH_MAX];
    if (strcmp(path, "-") == 0)
        return write_all(stdout, content) || write_failed("standard output", errno);
    int n = snprintf(temp, sizeof temp, "%s.XXXXXX", path);
    int fd = n > 0 && (size_t)n < sizeof temp ? mkstemp(temp) : (errno = ENAMETOOLONG, -1);
    FILE *f = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (!f)
        return write_failed(path, errno);
    mode_t mask = umask(0);
    umask(mask);
    bool is_good = fchmod(fd, 0666 & ~mask) == 0 && write_all(f, content) && fsync(fd) == 0;
    int failed = errno;
    fclose(f);
    if (is_good && rename(temp, path) == 0)
        return true;
    failed = is_good ? errno : failed;
    unlink(temp);
    return write_failed(path, failed);
}

const char *torrent_version(bool has_v1, bool has_v2)
{
    return has_v1 && has_v2 ? "hybrid" : has_v2 ? "v2" : "v1";
}

void torrent_print_text(FILE *f, const char *text)
{
    struct bytes rest = bytes_of_str(text);
    while (rest.len > 0) {
        const uint8_t *at = rest.data;
        uint32_t c = utf8_next(&rest, NULL);
        if (c < 0x20 || (c >= 0x7F && c < 0xA0) || (c >= 0x202A && c <= 0x202E) ||
            (c >= 0x2066 && c <= 0x2069))
            fputc('?', f);
        else
            fwrite(at, 1, (size_t)(rest.data - at), f);
    }
}
