/* The extension handshake, taken twice over: bounds hold, and what we would say of the same things
 * reads back the same. */
#include "torrent/ext_handshake.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(const struct ext_peer *p)
{
    assert(p->version_len <= EXT_VERSION_LEN_MAX);
    assert(p->metadata_size <= METADATA_LEN_MAX);
    assert(p->reqq >= 1 && p->reqq <= EXT_REQQ_MAX);
    assert(p->ipv4.family == ADDR_NONE || p->ipv4.family == ADDR_V4);
    assert(p->yourip.port == 0 && p->ipv4.port == 0 && p->ipv6.port == 0);
}

static void say_it_ourselves(const struct ext_peer *p)
{
    uint8_t out[EXT_HANDSHAKE_LEN_MAX];
    char version[EXT_VERSION_LEN_MAX + 1] = {0};
    struct ext_peer again;
    struct ext_ours ours = {.version = p->version_len ? version : NULL,
                            .port = p->port,
                            .reqq = p->reqq,
                            .metadata_size = p->metadata_size,
                            .is_upload_only = p->is_upload_only,
                            .yourip = &p->yourip};
    for (int kind = 0; kind < EXT_KIND_COUNT; kind++)
        ours.kinds[kind] = p->ids[kind] != 0;
    for (size_t i = 0; i < p->version_len; i++)
        version[i] = (char)(p->version[i] ? p->version[i] : '0');
    struct writer w = writer_init(out, sizeof out);
    ext_handshake_write(&w, &ours);
    assert(writer_end(&w) == ERR_OK);
    ext_peer_init(&again);
    enum err_code code = ext_handshake_read(writer_bytes(&w), &again, NULL);
    assert(code == ERR_OK && again.n_ignored == 0);
    assert(again.port == p->port && again.reqq == p->reqq);
    assert(again.metadata_size == p->metadata_size && again.is_upload_only == p->is_upload_only);
    assert(again.version_len == p->version_len && addr_equal(&again.yourip, &p->yourip));
    for (int kind = 0; kind < EXT_KIND_COUNT; kind++)
        assert(again.ids[kind] == (p->ids[kind] ? EXT_OUR_ID(kind) : 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct ext_peer p, before;
    struct err err = {0};
    uint32_t piece;
    ext_peer_init(&p);
    before = p;
    if (ext_handshake_read(bytes_of(data, len), &p, &err)) {
        assert(err.code && memcmp(&p, &before, sizeof p) == 0);
    } else {
        check(&p);
        say_it_ourselves(&p);
        before = p;
        enum err_code code = ext_handshake_read(bytes_of(data, len), &p, &err);
        assert(code == ERR_OK && p.n_read == 2);
        p.n_read = before.n_read;
        p.n_ignored = before.n_ignored;
        assert(memcmp(&p, &before, sizeof p) == 0);
    }
    (void)!donthave_read(bytes_of(data, len), &piece, &err);
    return 0;
}
