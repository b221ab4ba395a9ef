/* addr: a peer's or tracker's endpoint, IPv4 or IPv6, without the system's socket headers.
 *
 * IPv4-mapped IPv6 addresses are folded to IPv4 wherever one is read, so that one endpoint has
 * one form. ADDR_KEY_LEN bytes from addr_key() identify an endpoint in a map.
 */
#pragma once
#include "base/bytes.h"

enum addr_family { ADDR_NONE = 0, ADDR_V4 = 4, ADDR_V6 = 6 };

struct addr {
    uint8_t ip[16]; /* network order; the first 4 for IPv4, the rest zero */
    uint16_t port;  /* host order */
    uint8_t family; /* enum addr_family */
};

#define ADDR_KEY_LEN      19u
#define ADDR_TEXT_CAP     64u /* "[ipv6]:port" and the terminator */
#define ADDR_COMPACT4_LEN 6u  /* BEP 23 */
#define ADDR_COMPACT6_LEN 18u /* BEP 7 */

struct addr addr_v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint16_t port);
bool addr_equal(const struct addr *a, const struct addr *b);
bool addr_ip_equal(const struct addr *a, const struct addr *b);
int addr_compare(const struct addr *a, const struct addr *b); /* family, ip, port */
void addr_key(const struct addr *a, uint8_t out[ADDR_KEY_LEN]);
char *addr_format(const struct addr *a, char out[ADDR_TEXT_CAP]);    /* "1.2.3.4:80", "[::1]:80" */
char *addr_format_ip(const struct addr *a, char out[ADDR_TEXT_CAP]); /* without the port */
/* "1.2.3.4", "1.2.3.4:80", "::1", "[::1]:80"; a missing port gives default_port. No names. */
enum err_code addr_parse(struct bytes text, uint16_t default_port, struct addr *out) MUST_USE;
void addr_read_v4(struct reader *r, struct addr *out);   /* 6 bytes */
void addr_read_v6(struct reader *r, struct addr *out);   /* 18 bytes */
void addr_write(struct writer *w, const struct addr *a); /* 6 or 18 bytes by family */
bool addr_is_loopback(const struct addr *a);
bool addr_is_local(const struct addr *a);    /* loopback, link-local, RFC 1918, RFC 4193 */
bool addr_is_dialable(const struct addr *a); /* a port, and not unspecified, multicast, broadcast */
/* BEP 40 canonical peer priority; ours and theirs symmetric. CRC32-C inside. */
uint32_t addr_peer_priority(const struct addr *a, const struct addr *b);
uint32_t crc32c(struct bytes b);          /* with the processor's instruction if it has one */
uint32_t crc32c_portable(struct bytes b); /* the same without */
