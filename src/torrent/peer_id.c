#include "torrent/peer_id.h"
#include "base/log.h"

#define ID_LEN 20u

void peer_id_make(uint8_t out[20], struct rng *rng)
{
    static const char chars[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t prefix_len = sizeof PEER_ID_PREFIX - 1;
    memcpy(out, PEER_ID_PREFIX, prefix_len);
    for (size_t i = prefix_len; i < ID_LEN; i++)
        out[i] = (uint8_t)chars[rng_below(rng, sizeof chars - 1)];
}

/* BEP 20, Azureus style: two letters between '-', four characters of version, '-'. */
static const struct {
    char code[3];
    const char *name;
} azureus[] = {
    {"A~", "Ares"},
    {"AG", "Ares"},
    {"AZ", "Vuze"},
    {"BI", "BiglyBT"},
    {"BC", "BitComet"},
    {"BL", "BitLord"},
    {"BT", "BitTorrent"},
    {"BW", "BitWombat"},
    {"CT", "CTorrent"},
    {"DE", "Deluge"},
    {"FC", "FileCroc"},
    {"FD", "Free Download Manager"},
    {"FL", "Folx"},
    {"FW", "FrostWire"},
    {"GT", "anacrolix/torrent"},
    {"HL", "Halite"},
    {"KG", "KGet"},
    {"KT", "KTorrent"},
    {"LP", "Lphant"},
    {"LT", "libtorrent"},
    {"lt", "libTorrent (rTorrent)"},
    {"LW", "LimeWire"},
    {"MG", "MediaGet"},
    {"MO", "MonoTorrent"},
    {"PI", "PicoTorrent"},
    {"qB", "qBittorrent"},
    {"rQ", "rqbit"},
    {"SD", "Xunlei"},
    {"SH", "shoal"},
    {"SY", "Synology"},
    {"TL", "Tribler"},
    {"TR", "Transmission"},
    {"TT", "TuoTu"},
    {"TX", "Tixati"},
    {"UM", "uTorrent Mac"},
    {"UE", "uTorrent Embedded"},
    {"UT", "uTorrent"},
    {"UW", "uTorrent Web"},
    {"WT", "BitLet"},
    {"WW", "WebTorrent"},
    {"WD", "WebTorrent Desktop"},
    {"WY", "FireTorrent"},
    {"XL", "Xunlei"},
    {"XF", "Xfplay"},
    {"ZT", "ZipTorrent"},
};

static const char *azureus_name(const uint8_t id[20])
{
    if (id[0] != '-' || id[7] != '-')
        return NULL;
    for (size_t i = 0; i < sizeof azureus / sizeof *azureus; i++)
        if (memcmp(azureus[i].code, id + 1, 2) == 0)
            return azureus[i].name;
    return NULL;
}

/* 0-9, then A-Z and a-z for 10 and up; -1: something else. */
static int version_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'Z')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 10;
    return -1;
}

/* Four digits as 1.2.3, with the fourth where it is not 0. Transmission writes 3.00 as 3000, and
 * since 4.0 as 4.0.3 in 4030. */
static void put_azureus_version(struct writer *w, const uint8_t id[20])
{
    int v[4];
    for (size_t i = 0; i < 4; i++) {
        v[i] = version_digit(id[3 + i]);
        if (v[i] < 0)
            return;
    }
    bool is_old_transmission = id[1] == 'T' && id[2] == 'R' && v[0] < 4;
    if (is_old_transmission)
        writer_printf(w, " %d.%d%d", v[0], v[1], v[2]);
    else if (v[3])
        writer_printf(w, " %d.%d.%d.%d", v[0], v[1], v[2], v[3]);
    else
        writer_printf(w, " %d.%d.%d", v[0], v[1], v[2]);
}

static bool is_number(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* "7-10-2--" as "7.10.2": numbers between single '-', up to anything else. */
static void put_dashed_version(struct writer *w, const uint8_t *text, const uint8_t *end)
{
    if (text < end && is_number(*text))
        writer_u8(w, ' ');
    for (; text < end; text++) {
        bool is_sep = *text == '-' && text + 1 < end && is_number(text[1]);
        if (!is_sep && !is_number(*text))
            return;
        writer_u8(w, is_sep ? '.' : *text);
    }
}

/* Those that follow neither style of BEP 20, and the main line, whose letter is followed by a
 * version. */
static const struct {
    const char *prefix, *name;
    bool is_dashed;
} others[] = {
    {"A2-", "aria2", true},      {"M", "BitTorrent", true},   {"Q", "Queen Bee", true},
    {"OP", "Opera", false},      {"exbc", "BitComet", false}, {"XBT", "XBT Client", false},
    {"T0", "BitTornado", false}, {"-FG", "FlashGet", false},
};

static bool put_other(struct writer *w, struct bytes id)
{
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct bytes prefix = bytes_of_str(others[i].prefix);
        const uint8_t *version = id.data + prefix.len;
        if (!bytes_starts_with(id, prefix))
            continue;
        if (others[i].is_dashed && (!is_number(*version) || !memchr(version, '-', 4)))
            continue;
        writer_str(w, others[i].name);
        if (others[i].is_dashed)
            put_dashed_version(w, version, id.data + id.len);
        return true;
    }
    return false;
}

/* Nothing but zeros after the readable part is worth showing. */
static struct bytes trim_zeros(struct bytes id)
{
    while (id.len && id.data[id.len - 1] == 0)
        id.len--;
    return id;
}

char *peer_client_name(const uint8_t id[20], struct bytes v, char *out, size_t out_cap)
{
    struct bytes whole = bytes_of(id, ID_LEN);
    const char *name = azureus_name(id);
    char text[64];
    struct writer w = writer_init(text, sizeof text - 1);
    if (v.len)
        return log_escape(v, out, out_cap);
    if (name) {
        writer_str(&w, name);
        put_azureus_version(&w, id);
    } else if (!put_other(&w, whole)) {
        return log_escape(trim_zeros(whole), out, out_cap);
    }
    return log_escape(writer_bytes(&w), out, out_cap);
}
