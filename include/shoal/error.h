/* shoal/error.h: how libshoal says what went wrong.
 *
 * Functions that can fail return enum shoal_err and, where they take one, fill a struct
 * shoal_note with the words for a one-line message. On success the note is untouched.
 */
#ifndef SHOAL_ERROR_H
#define SHOAL_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SHOAL_API      __attribute__((visibility("default")))
#define SHOAL_MUST_USE __attribute__((warn_unused_result))
#else
#define SHOAL_API
#define SHOAL_MUST_USE
#endif

enum shoal_err {
    SHOAL_OK = 0,
    SHOAL_ERR_TRUNCATED, /* input ends inside a field                     */
    SHOAL_ERR_MALFORMED, /* bytes that the format does not allow          */
    SHOAL_ERR_LIMIT,     /* beyond a bound                                */
    SHOAL_ERR_PROTOCOL,  /* not allowed now                               */
    SHOAL_ERR_NO_MEMORY,
    SHOAL_ERR_IO, /* disk, network, name service                   */
    SHOAL_ERR_CANCELLED,
    SHOAL_ERR_UNSUPPORTED, /* valid, and not done here                      */
    SHOAL_ERR_NOT_FOUND
};

struct shoal_note {
    enum shoal_err code;
    char text[256]; /* one line, terminated */
};

/* "truncated", "malformed", ...: a literal. */
SHOAL_API const char *shoal_err_name(enum shoal_err code);

/* "0.1.0": the version of the library that runs. */
SHOAL_API const char *shoal_version(void);

#ifdef __cplusplus
}
#endif
#endif
