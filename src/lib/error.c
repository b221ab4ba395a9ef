#include "lib/lib.h"
#include <assert.h>

static_assert((int)SHOAL_OK == (int)ERR_OK && (int)SHOAL_ERR_NOT_FOUND == (int)ERR_NOT_FOUND &&
                  (int)SHOAL_ERR_IO == (int)ERR_IO &&
                  (int)SHOAL_ERR_UNSUPPORTED == (int)ERR_UNSUPPORTED,
              "the public codes are the internal ones");

enum shoal_err lib_note(struct shoal_note *note, const struct err *err)
{
    if (note) {
        note->code = (enum shoal_err)err->code;
        err_format(err, note->text, sizeof note->text);
    }
    return (enum shoal_err)err->code;
}

void lib_note_path(struct shoal_note *note, const char *path)
{
    char text[200];
    if (!note || !path)
        return;
    log_escape(bytes_of_str(path), text, sizeof text);
    size_t n = strlen(note->text);
    snprintf(note->text + n, sizeof note->text - n, " (%s)", text);
}

void lib_note_storage(struct shoal_note *note, const struct err *err, const struct metainfo *info,
                      const char *dir)
{
    lib_note(note, err);
    if (err->code != ERR_IO)
        return;
    bool has_file = info && err->at < info->n_files;
    lib_note_path(note, has_file ? info->files[err->at].path : dir);
}

enum shoal_err lib_note_text(struct shoal_note *note, enum shoal_err code, const char *text)
{
    if (note) {
        note->code = code;
        snprintf(note->text, sizeof note->text, "%s", text);
    }
    return code;
}

const char *shoal_err_name(enum shoal_err code)
{
    return err_code_name((enum err_code)code);
}

const char *shoal_version(void)
{
    return SHOAL_VERSION;
}
