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
