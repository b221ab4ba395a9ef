#include "base/addr.h"
#include "base/size.h"
#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

struct addr addr_v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint16_t port)
{
    return (struct addr){.ip = {a, b, c, d}, .port = port, .family = ADDR_V4};
}

static struct addr addr_v6(const uint8_t ip[16], uint16_t port)
{
    if (memcmp(ip, mapped_prefix, sizeof mapped_prefix) == 0)
        return addr_v4(ip[12], ip[13], ip[14], ip[15], port);
    struct addr a = {.port = port, .family = ADDR_V6};
    memcpy(a.ip, ip, sizeof a.ip);
    return a;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
    return a->port == b->port && addr_ip_equal(a, b);
}

bool addr_ip_equal(const struct addr *a, const struct addr *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

int addr_compare(const struct addr *a, const struct addr *b)
{
    if (a->family != b->family)
        return a->family < b->family ? -1 : 1;
    int order = memcmp(a->ip, b->ip, sizeof a->ip);
    if (order)
        return order < 0 ? -1 : 1;
    return (a->port > b->port) - (a->port < b->port);
}

void addr_key(const struct addr *a, uint8_t out[ADDR_KEY_LEN])
{
    out[0] = a->family;
    memcpy(out + 1, a->ip, sizeof a->ip);
    out[17] = (uint8_t)(a->port >> 8);
    out[18] = (uint8_t)a->port;
}

/* --- text ------------------------------------------------------------------------------------ */

static uint16_t group_at(const uint8_t ip[16], size_t i)
{
    return (uint16_t)(ip[2 * i] << 8 | ip[2 * i + 1]);
}

/* The first longest run of two or more zero groups, which RFC 5952 writes as "::". */
static void longest_zeros(const uint8_t ip[16], size_t *out_at, size_t *out_n)
{
    *out_at = 8;
    *out_n = 1;
    for (size_t i = 0, n = 0; i < 8; i++) {
        n = group_at(ip, i) ? 0 : n + 1;
        if (n > *out_n) {
            *out_at = i + 1 - n;
            *out_n = n;
        }
    }
}

static void write_ip(struct writer *w, const struct addr *a)
{
    if (a->family == ADDR_V4) {
        writer_printf(w, "%u.%u.%u.%u", a->ip[0], a->ip[1], a->ip[2], a->ip[3]);
        return;
    }
    size_t zeros_at, n_zeros;
    longest_zeros(a->ip, &zeros_at, &n_zeros);
    for (size_t i = 0; i < 8; i++) {
        if (i == zeros_at) {
            writer_str(w, "::");
            i += n_zeros - 1;
        } else {
            bool is_first = i == 0 || i == zeros_at + n_zeros;
            writer_printf(w, is_first ? "%x" : ":%x", group_at(a->ip, i));
        }
    }
}

char *addr_format_ip(const struct addr *a, char out[ADDR_TEXT_CAP])
{
    struct writer w = writer_init(out, ADDR_TEXT_CAP);
    if (a->family == ADDR_NONE)
        writer_str(&w, "none");
    else
        write_ip(&w, a);
    writer_u8(&w, 0);
    return out;
}

char *addr_format(const struct addr *a, char out[ADDR_TEXT_CAP])
{
    struct writer w = writer_init(out, ADDR_TEXT_CAP);
    if (a->family == ADDR_NONE)
        return addr_format_ip(a, out);
    writer_str(&w, a->family == ADDR_V6 ? "[" : "");
    write_ip(&w, a);
    writer_printf(&w, a->family == ADDR_V6 ? "]:%u" : ":%u", a->port);
    writer_u8(&w, 0);
    return out;
}

/* A decimal of at most max without leading zeros, which some would read as octal. */
static uint32_t read_decimal(struct reader *r, uint32_t max)
{
    uint32_t value = 0;
    size_t n = 0;
    for (uint8_t c; c = reader_peek_u8(r), c >= '0' && c <= '9'; n++) {
        if (n > 0 && value == 0)
            reader_fail(r, ERR_MALFORMED, "number has a leading zero");
        value = value * 10 + (reader_u8(r) - '0');
        if (value > max)
            reader_fail(r, ERR_MALFORMED, "number is too large");
    }
    if (n == 0)
        reader_fail(r, ERR_MALFORMED, "number expected");
    return value;
}

static bool read_char(struct reader *r, char c)
{
    if (reader_left(r) == 0 || reader_peek_u8(r) != (uint8_t)c)
        return false;
    reader_skip(r, 1);
    return true;
}

static void read_v4_text(struct reader *r, uint8_t ip[4])
{
    for (size_t i = 0; i < 4; i++) {
        if (i > 0 && !read_char(r, '.'))
            reader_fail(r, ERR_MALFORMED, "IPv4 address needs four numbers");
        ip[i] = (uint8_t)read_decimal(r, 255);
    }
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static uint16_t read_group(struct reader *r)
{
    uint32_t value = 0;
    size_t n = 0;
    for (; n < 4 && reader_left(r) && hex_value(reader_peek_u8(r)) >= 0; n++)
        value = value << 4 | (uint32_t)hex_value(reader_u8(r));
    if (n == 0)
        reader_fail(r, ERR_MALFORMED, "IPv6 group expected");
    return (uint16_t)value;
}

/* Whether a dotted IPv4 address comes next, as the last four bytes of an IPv6 address may be. */
static bool is_v4_next(const struct reader *r)
{
    for (size_t i = r->pos; i < r->len && i < r->pos + 4; i++) {
        if (r->buf[i] == '.')
            return true;
        if (r->buf[i] < '0' || r->buf[i] > '9')
            return false;
    }
    return false;
}

/* RFC 4291, section 2.2: groups of hex digits, "::" once, IPv4 dotted at the end. */
static void read_v6_text(struct reader *r, uint8_t ip[16])
{
    size_t at = 0, gap_at = SIZE_MAX;
    memset(ip, 0, 16);
    while (reader_ok(r) && at < 16) {
        bool is_start = at == 0 && gap_at == SIZE_MAX;
        if (gap_at == SIZE_MAX && r->len - r->pos >= 2 && memcmp(r->buf + r->pos, "::", 2) == 0) {
            reader_skip(r, 2);
            gap_at = at;
            if (reader_left(r) == 0 || reader_peek_u8(r) == ']')
                break;
        } else if (!is_start && !read_char(r, ':')) {
            break;
        }
        if (at <= 12 && is_v4_next(r)) {
            read_v4_text(r, ip + at);
            at += 4;
            break;
        }
        uint16_t group = read_group(r);
        ip[at++] = (uint8_t)(group >> 8);
        ip[at++] = (uint8_t)group;
    }
    if (gap_at == SIZE_MAX ? at != 16 : at > 14) {
        reader_fail(r, ERR_MALFORMED, "IPv6 address needs eight groups");
        return;
    }
    if (gap_at != SIZE_MAX) {
        memmove(ip + 16 - (at - gap_at), ip + gap_at, at - gap_at);
        memset(ip + gap_at, 0, 16 - at);
    }
}

enum err_code addr_parse(struct bytes text, uint16_t default_port, struct addr *out)
{
    struct reader r = reader_init(text);
    uint8_t ip[16] = {0};
    uint16_t port = default_port;
    bool is_bracketed = read_char(&r, '[');
    bool is_v6 = is_bracketed || (text.len && memchr(text.data, ':', text.len) !=
                                                  memrchr(text.data, ':', text.len));
    if (is_v6)
        read_v6_text(&r, ip);
    else
        read_v4_text(&r, ip);
    if (is_bracketed && !read_char(&r, ']'))
        reader_fail(&r, ERR_MALFORMED, "bracket is not closed");
    if ((is_bracketed || !is_v6) && read_char(&r, ':'))
        port = (uint16_t)read_decimal(&r, UINT16_MAX);
    if (reader_end(&r))
        return ERR_MALFORMED;
    *out = is_v6 ? addr_v6(ip, port) : addr_v4(ip[0], ip[1], ip[2], ip[3], port);
    return ERR_OK;
}

/* --- wire ------------------------------------------------------------------------------------ */

void addr_read_v4(struct reader *r, struct addr *out)
{
    *out = (struct addr){.family = ADDR_V4};
    reader_copy(r, out->ip, 4);
    out->port = reader_u16be(r);
}

void addr_read_v6(struct reader *r, struct addr *out)
{
    uint8_t ip[16];
    reader_copy(r, ip, sizeof ip);
    *out = addr_v6(ip, 0);
    out->port = reader_u16be(r);
}

void addr_write(struct writer *w, const struct addr *a)
{
    writer_put(w, bytes_of(a->ip, a->family == ADDR_V4 ? 4 : 16));
    writer_u16be(w, a->port);
}

/* --- kinds ----------------------------------------------------------------------------------- */

bool addr_is_loopback(const struct addr *a)
{
    static const uint8_t v6_loopback[16] = {[15] = 1};
    if (a->family == ADDR_V4)
        return a->ip[0] == 127;
    return a->family == ADDR_V6 && memcmp(a->ip, v6_loopback, 16) == 0;
}

bool addr_is_local(const struct addr *a)
{
    const uint8_t *ip = a->ip;
    if (addr_is_loopback(a))
        return true;
    if (a->family == ADDR_V4)
        return ip[0] == 10 || (ip[0] == 172 && ip[1] >> 4 == 1) || (ip[0] == 192 && ip[1] == 168) ||
               (ip[0] == 169 && ip[1] == 254);
    return a->family == ADDR_V6 && ((ip[0] & 0xfe) == 0xfc || (ip[0] == 0xfe && ip[1] >> 6 == 2));
}

bool addr_is_dialable(const struct addr *a)
{
    static const uint8_t zeros[16], ones[4] = {255, 255, 255, 255};
    if (a->port == 0)
        return false;
    if (a->family == ADDR_V4)
        return a->ip[0] != 0 && a->ip[0] >> 4 != 14 && memcmp(a->ip, ones, 4) != 0;
    return a->family == ADDR_V6 && a->ip[0] != 0xff && memcmp(a->ip, zeros, 16) != 0;
}

/* --- BEP 40 ---------------------------------------------------------------------------------- */

/* The bytes that BEP 40 masks lightly or not at all grow with the prefix that both share. */
static size_t n_whole_bytes(const struct addr *a, const struct addr *b, size_t ip_len)
{
    size_t n_same = 0;
    while (n_same < ip_len && a->ip[n_same] == b->ip[n_same])
        n_same++;
    return size_min(size_max(n_same + 1, ip_len == 4 ? 2 : 6), ip_len);
}

uint32_t addr_peer_priority(const struct addr *a, const struct addr *b)
{
    uint8_t buf[2 * ADDR_KEY_LEN];
    struct writer w = writer_init(buf, sizeof buf);
    const struct addr *low = addr_compare(a, b) < 0 ? a : b, *high = low == a ? b : a;
    size_t ip_len = a->family == ADDR_V4 ? 4 : 16;
    if (a->family != b->family) { /* BEP 40 has no rule here; any symmetric value will do */
        addr_key(low, buf);
        addr_key(high, buf + ADDR_KEY_LEN);
        return crc32c(bytes_of(buf, sizeof buf));
    }
    if (addr_ip_equal(a, b)) {
        writer_u16be(&w, low->port);
        writer_u16be(&w, high->port);
        return crc32c(writer_bytes(&w));
    }
    size_t n_whole = n_whole_bytes(a, b, ip_len);
    for (size_t i = 0; i < 2 * ip_len; i++) {
        size_t at = i % ip_len;
        writer_u8(&w, (i < ip_len ? low : high)->ip[at] & (at < n_whole ? 0xff : 0x55));
    }
    return crc32c(writer_bytes(&w));
}

/* --- CRC32-C (Castagnoli; RFC 3720, appendix B.4) -------------------------------------------- */

/* Remainders of one nibble for the reflected polynomial 0x82f63b78. */
static const uint32_t crc32c_nibbles[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

uint32_t crc32c_portable(struct bytes b)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < b.len; i++) {
        crc ^= b.data[i];
        crc = crc >> 4 ^ crc32c_nibbles[crc & 15];
        crc = crc >> 4 ^ crc32c_nibbles[crc & 15];
    }
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(struct bytes b)
{
    uint64_t wide = ~0u;
    for (; b.len >= 8; b.data += 8, b.len -= 8) {
        uint64_t word;
        memcpy(&word, b.data, sizeof word);
        wide = _mm_crc32_u64(wide, word);
    }
    uint32_t crc = (uint32_t)wide;
    for (size_t i = 0; i < b.len; i++)
        crc = _mm_crc32_u8(crc, b.data[i]);
    return ~crc;
}
#endif

uint32_t crc32c(struct bytes b)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_sse42(b);
#endif
    return crc32c_portable(b);
}
