#include "chain/params.h"
#include "base/bytes.h"
#include "chain/params_tables.h"
#include "chain/script.h"
#include "chain/tx.h"
#include "crypto/sha256d.h"
#include <assert.h>

#define WORK(w0, w1)                                                                               \
    {                                                                                              \
        {                                                                                          \
            (w0), (w1), 0, 0                                                                       \
        }                                                                                          \
    } /* chain work: its two low words */
/* clang-format off */
#define POW_LIMIT_MAIN    {{UINT64_MAX, UINT64_MAX, UINT64_MAX, 0xffffffffu}}
#define POW_LIMIT_SIGNET  {{0, 0, 0, 0x0377ae000000u}}
#define POW_LIMIT_REGTEST {{UINT64_MAX, UINT64_MAX, UINT64_MAX, 0x7fffffffffffffffu}}
/* clang-format on */

#define COUNT_OF(a)   (sizeof(a) / sizeof(a)[0])
#define TWO_WEEKS_S   1209600u
#define TEN_MINUTES_S 600u
#define GENESIS_RAW(s)                                                                             \
    {                                                                                              \
        (const uint8_t *)(s), sizeof(s) - 1                                                        \
    }
#define ASSUMEUTXO(net) .assumeutxo = assumeutxo_##net, .n_assumeutxo = COUNT_OF(assumeutxo_##net)
#define BASE58_TEST     .base58_pubkey = 111, .base58_script = 196, .base58_secret = 239

static const struct chain_params networks[] = {
    {
        .name = "main",
        .magic = {0xf9, 0xbe, 0xb4, 0xd9},
        .port = 8333,
        .genesis = GENESIS_MAIN,
        .genesis_header = {1, {{0}}, GENESIS_ROOT, 1231006505, 0x1d00ffff, 2083236893},
        .genesis_raw = GENESIS_RAW(genesis_main),
        .pow_limit = POW_LIMIT_MAIN,
        .active_height = {[DEPLOY_BIP34] = 227931,
                          [DEPLOY_CLTV] = 388381,
                          [DEPLOY_DERSIG] = 363725,
                          [DEPLOY_CSV] = 419328,
                          [DEPLOY_SEGWIT] = 481824},
        .bip34_hash = MAIN_BIP34,
        .exceptions = {{MAIN_NO_P2SH, 0}, {MAIN_NO_TAPROOT, SCRIPT_P2SH | SCRIPT_WITNESS}},
        .n_exceptions = 2,
        .bip30_exceptions = {{91842, MAIN_91842}, {91880, MAIN_91880}},
        .n_bip30_exceptions = 2,
        .subsidy_halving_blocks = 210000,
        .pow_timespan_s = TWO_WEEKS_S,
        .pow_spacing_s = TEN_MINUTES_S,
        .min_chain_work = WORK(0x2f4c366153a3a030u, 0x1128750f8u),
        .assume_valid = MAIN_938343,
        ASSUMEUTXO(main),
        .coinbase_maturity = 100,
        .base58_pubkey = 0,
        .base58_script = 5,
        .base58_secret = 128,
        .bech32_hrp = "bc",
    },
    {
        .name = "testnet4",
        .magic = {0x1c, 0x16, 0x3f, 0x28},
        .port = 48333,
        .genesis = GENESIS_TESTNET4,
        .genesis_header = {1, {{0}}, GENESIS_ROOT_TESTNET4, 1714777860, 0x1d00ffff, 393743547},
        .genesis_raw = GENESIS_RAW(genesis_testnet4),
        .pow_limit = POW_LIMIT_MAIN,
        .active_height = {1, 1, 1, 1, 1},
        .subsidy_halving_blocks = 210000,
        .pow_timespan_s = TWO_WEEKS_S,
        .pow_spacing_s = TEN_MINUTES_S,
        .pow_allows_min_difficulty = true,
        .pow_is_bip94 = true,
        .min_chain_work = WORK(0xfe15d0177d086304u, 0x9a0u),
        .assume_valid = TESTNET4_123613,
        ASSUMEUTXO(testnet4),
        .coinbase_maturity = 100,
        BASE58_TEST,
        .bech32_hrp = "tb",
    },
    {
        .name = "signet",
        .magic = {0x0a, 0x03, 0xcf, 0x40},
        .port = 38333,
        .genesis = GENESIS_SIGNET,
        .genesis_header = {1, {{0}}, GENESIS_ROOT, 1598918400, 0x1e0377ae, 52613770},
        .genesis_raw = GENESIS_RAW(genesis_signet),
        .pow_limit = POW_LIMIT_SIGNET,
        .active_height = {1, 1, 1, 1, 1},
        .subsidy_halving_blocks = 210000,
        .pow_timespan_s = TWO_WEEKS_S,
        .pow_spacing_s = TEN_MINUTES_S,
        .min_chain_work = WORK(0x0b463ea0a4b8u, 0),
        .assume_valid = SIGNET_293175,
        ASSUMEUTXO(signet),
        .is_signet = true,
        .signet_challenge = {signet_challenge, sizeof signet_challenge},
        .coinbase_maturity = 100,
        BASE58_TEST,
        .bech32_hrp = "tb",
    },
    {
        .name = "regtest",
        .magic = {0xfa, 0xbf, 0xb5, 0xda},
        .port = 18444,
        .genesis = GENESIS_REGTEST,
        .genesis_header = {1, {{0}}, GENESIS_ROOT, 1296688602, 0x207fffff, 2},
        .genesis_raw = GENESIS_RAW(genesis_regtest),
        .pow_limit = POW_LIMIT_REGTEST,
        .active_height = {1, 1, 1, 1, [DEPLOY_SEGWIT] = 0},
        .subsidy_halving_blocks = 150,
        .pow_timespan_s = TWO_WEEKS_S,
        .pow_spacing_s = TEN_MINUTES_S,
        .pow_has_no_retargeting = true,
        .pow_allows_min_difficulty = true,
        ASSUMEUTXO(regtest),
        .coinbase_maturity = 100,
        BASE58_TEST,
        .bech32_hrp = "bcrt",
    },
};

const struct chain_params *chain_params_find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(networks); i++)
        if (strcmp(networks[i].name, name) == 0)
            return &networks[i];
    return NULL;
}

/* BIP 325, "Genesis Block and Message Start": the first bytes of the hash of the challenge as it
 * is serialised, its length before it. What we know of the public signet's chain goes. */
void chain_params_set_challenge(struct chain_params *p, struct bytes challenge)
{
    struct sha256_state s;
    uint8_t digest[SHA256_LEN], prefix[9];
    struct writer w = writer_init(prefix, sizeof prefix);
    writer_compact_size(&w, challenge.len);
    sha256_init(&s);
    sha256_update(&s, writer_bytes(&w));
    sha256_update(&s, challenge);
    sha256_final(&s, digest);
    sha256(bytes_of(digest, sizeof digest), digest);
    memcpy(p->magic, digest, sizeof p->magic);
    p->signet_challenge = challenge;
    p->min_chain_work = (struct u256){{0}};
    p->assume_valid = (struct hash256){{0}};
    p->assumeutxo = NULL;
    p->n_assumeutxo = 0;
}

/* A height in decimal: below 2^31 - 1, as in Bitcoin Core. */
static bool read_height(const char *digits, uint32_t *out)
{
    uint64_t v = 0;
    size_t n = strlen(digits);
    if (n == 0 || n > 10)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(digits[i] - '0');
    }
    *out = (uint32_t)v;
    return v < INT32_MAX;
}

bool chain_params_set_height(struct chain_params *p, const char *name_at_height)
{
    static const struct {
        const char *name;
        enum deployment deployment;
    } names[] = {{"bip34", DEPLOY_BIP34},
                 {"cltv", DEPLOY_CLTV},
                 {"dersig", DEPLOY_DERSIG},
                 {"csv", DEPLOY_CSV},
                 {"segwit", DEPLOY_SEGWIT}};
    const char *at = strchr(name_at_height, '@');
    uint32_t height;
    if (!at || !read_height(at + 1, &height))
        return false;
    struct bytes name = bytes_of(name_at_height, (size_t)(at - name_at_height));
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (bytes_equal_str(name, names[i].name)) {
            p->active_height[names[i].deployment] = height;
            return true;
        }
    }
    return false;
}

uint32_t chain_params_script_flags(const struct chain_params *p, const struct hash256 *block,
                                   uint32_t height)
{
    static const uint32_t flag_of[DEPLOY_COUNT] = {[DEPLOY_CLTV] = SCRIPT_CHECKLOCKTIMEVERIFY,
                                                   [DEPLOY_DERSIG] = SCRIPT_DERSIG,
                                                   [DEPLOY_CSV] = SCRIPT_CHECKSEQUENCEVERIFY,
                                                   [DEPLOY_SEGWIT] = SCRIPT_NULLDUMMY};
    uint32_t flags = SCRIPT_P2SH | SCRIPT_WITNESS | SCRIPT_TAPROOT;
    for (uint32_t i = 0; i < p->n_exceptions; i++)
        if (hash256_equal(&p->exceptions[i].block, block))
            flags = p->exceptions[i].flags;
    for (int d = 0; d < DEPLOY_COUNT; d++)
        if (chain_params_is_active(p, d, height))
            flags |= flag_of[d];
    return flags;
}
