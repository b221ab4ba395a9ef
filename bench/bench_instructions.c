/* bench_instructions: one operation of an engine's part, so often: what bench/instructions.sh counts the
 * instructions of under callgrind. Inputs come from fixed seeds, so a build always counts the same.
 *
 *   bench_instructions list            names, each with the number of times that suits it
 *   bench_instructions NAME N          sets NAME up and does it N times
 */
#include "torrent/bencode.h"
#include "torrent/choker.h"
#include "torrent/merkle.h"
#include "torrent/peer_list.h"
#include "torrent/picker.h"
#include "torrent/tracker_server.h"
#include "torrent/wire_in.h"

#define N_FILES    1000u
#define N_LEAVES   64u
#define N_PIECES   8192u
#define N_BLOCKS   16u
#define N_PEERS    100u
#define N_CHOKED   1000u
#define N_SWARMS   1000u
#define STREAM_LEN 65536u
#define QUEUE      32u

static struct mem mem;
static struct rng rng;
static uint64_t now_us = US_PER_S;

static void expect(bool is_right)
{
    if (!is_right)
        abort();
}

/* --- bencode --------------------------------------------------------------------------------- */

static struct buf document;
static struct bencode parsed;

/* As in the info dictionary of a folder. */
static void setup_document(void)
{
    buf_init(&document, &mem, 1 << 20);
    bencode_write_dict(&document);
    bencode_write_cstr(&document, "files");
    bencode_write_list(&document);
    for (uint32_t i = 0; i < N_FILES; i++) {
        char name[32];
        snprintf(name, sizeof name, "file-%u.bin", i);
        bencode_write_dict(&document);
        bencode_write_key_int(&document, "length", (int64_t)i * 1000);
        bencode_write_cstr(&document, "path");
        bencode_write_list(&document);
        bencode_write_cstr(&document, "folder");
        bencode_write_cstr(&document, name);
        bencode_write_end(&document);
        bencode_write_end(&document);
    }
    bencode_write_end(&document);
    bencode_write_end(&document);
}

static void run_parse(uint32_t n)
{
    while (n--) {
        expect(bencode_parse(&parsed, buf_bytes(&document), &mem, NULL, NULL) == ERR_OK);
        bencode_clear(&parsed);
    }
}

static void setup_walk(void)
{
    setup_document();
    expect(bencode_parse(&parsed, buf_bytes(&document), &mem, NULL, NULL) == ERR_OK);
}

static void run_walk(uint32_t n)
{
    while (n--) {
        struct bencode_iter files = bencode_iter(bencode_dict_get(bencode_root(&parsed), "files"));
        struct bencode_value file;
        int64_t sum = 0;
        while (bencode_next(&files, NULL, &file))
            sum += bencode_int_or(bencode_dict_get(file, "length"), -1);
        expect(sum == (int64_t)N_FILES * (N_FILES - 1) / 2 * 1000);
    }
}

static void run_message(uint32_t n)
{
    static const char text[] = "d1:md11:ut_metadatai3e6:ut_pexi1ee13:metadata_sizei31235e1:pi6881e"
                               "4:reqqi512e1:v11:shoal 0.1.0e";
    struct bencode_token tokens[32];
    struct bencode b;
    while (n--) {
        expect(bencode_parse_fixed(&b, bytes_of_str(text), tokens, 32, NULL) == ERR_OK);
        struct bencode_value root = bencode_root(&b);
        expect(bencode_int_or(bencode_dict_get(bencode_dict_get(root, "m"), "ut_pex"), 0) == 1);
        expect(bencode_int_or(bencode_dict_get(root, "metadata_size"), 0) == 31235);
        expect(bencode_int_or(bencode_dict_get(root, "reqq"), 0) == 512);
    }
}

static void run_write(uint32_t n)
{
    while (n--) {
        setup_document();
        buf_clear(&document);
    }
}

/* --- merkle ---------------------------------------------------------------------------------- */

static uint8_t leaves[N_LEAVES * SHA256_LEN];

static void setup_leaves(void)
{
    rng_fill(&rng, leaves, sizeof leaves);
}

static void run_root(uint32_t n)
{
    uint8_t root[SHA256_LEN];
    while (n--)
        merkle_root(leaves, N_LEAVES, 0, 6, root);
}

static void run_tree(uint32_t n)
{
    while (n--) {
        struct merkle_tree t;
        expect(merkle_tree_init(&t, &mem, leaves, N_LEAVES - 1, 6, 12) == ERR_OK);
        merkle_tree_clear(&t);
    }
}

/* --- wire ------------------------------------------------------------------------------------ */

static uint8_t stream[STREAM_LEN];
static size_t stream_len;
static struct wire_in wire;

static void drain(struct bytes in)
{
    struct wire_event ev;
    wire_in_feed(&wire, in);
    while (wire_in_next(&wire, &ev))
        expect(ev.kind != WIRE_FAIL);
}

/* A handshake, then as much as fits of what an uploader hears: haves and requests. */
static void setup_wire(void)
{
    struct handshake h = {0};
    struct writer w = writer_init(stream, sizeof stream);
    handshake_write(&w, &h);
    wire_in_init(&wire, &mem);
    drain(writer_bytes(&w));
    wire_in_set_n_pieces(&wire, N_PIECES);
    w = writer_init(stream, sizeof stream);
    for (uint32_t i = 0; writer_bytes(&w).len + PEER_MSG_LEN_MAX < sizeof stream; i++) {
        struct wire_block b = {i % N_PIECES, i % N_BLOCKS * 16384u, 16384};
        if (i % 4)
            peer_msg_write_block(&w, MSG_REQUEST, &b);
        else
            peer_msg_write_piece_index(&w, MSG_HAVE, b.piece);
    }
    stream_len = writer_bytes(&w).len;
}

/* 64 KiB of them at a time. */
static void run_wire_in(uint32_t n)
{
    while (n--)
        drain(bytes_of(stream, stream_len));
}

static void run_wire_out(uint32_t n)
{
    struct writer w = writer_init(stream, sizeof stream);
    struct wire_block b = {7, 16384, 16384};
    while (n--) {
        w = writer_init(stream, sizeof stream);
        peer_msg_write_block(&w, MSG_REQUEST, &b);
        peer_msg_write_piece_head(&w, &b);
        peer_msg_write_piece_index(&w, MSG_HAVE, b.piece);
    }
    expect(writer_ok(&w));
}

static void run_wire_read(uint32_t n)
{
    struct wire_msg msg;
    struct writer w = writer_init(stream, sizeof stream);
    peer_msg_write_block(&w, MSG_REQUEST, &(struct wire_block){7, 16384, 16384});
    while (n--)
        expect(peer_msg_read(bytes_of(stream + 4, 13), &msg, NULL) == ERR_OK);
}

/* --- picker ---------------------------------------------------------------------------------- */

static struct picker picker;
static struct picker_peer peers[N_PEERS];
static struct bitset haves[N_PEERS];

static uint32_t data_len(const void *ctx, uint32_t piece)
{
    (void)ctx, (void)piece;
    return N_BLOCKS * PICKER_BLOCK_LEN;
}

static void setup_picker(void)
{
    struct picker_config config = {
        .n_pieces = N_PIECES, .piece_len = N_BLOCKS * PICKER_BLOCK_LEN, .data_len = data_len};
    expect(picker_init(&picker, &mem, &rng, &config) == ERR_OK);
    for (uint32_t i = 0; i < N_PEERS; i++) {
        expect(bitset_init(&haves[i], &mem, N_PIECES) == ERR_OK);
        for (uint32_t piece = 0; piece < N_PIECES; piece++)
            if (rng_below(&rng, 100) < i)
                bitset_set(&haves[i], piece);
        picker_peer_init(&peers[i], NULL, &haves[i], false);
        peers[i].speed = (uint8_t)(i % 3);
        picker_add_peer(&picker, &peers[i]);
    }
}

static void run_have(uint32_t n)
{
    while (n--)
        picker_on_have(&picker, &peers[rng_below(&rng, N_PEERS)], rng_below(&rng, N_PIECES));
}

static bool receive(struct picker_peer *peer)
{
    struct wire_block block, other;
    struct picker_arrival arrival;
    struct picker_peer *asked;
    uint32_t cursor = peer->first_request;
    if (!picker_next_request(&picker, &cursor, &block, NULL, NULL) ||
        picker_on_block(&picker, peer, &block, &arrival) != PICKER_BLOCK_NEW)
        return false;
    while (arrival.is_piece_full && picker_on_piece_good(&picker, block.piece, &asked, &other))
        ;
    return true;
}

static void run_block(uint32_t n)
{
    struct wire_block blocks[QUEUE];
    while (n > 0) {
        struct picker_peer *peer = &peers[rng_below(&rng, N_PEERS)];
        now_us += 20;
        if (peer->n_requests < QUEUE / 2 && picker_is_interesting(peer))
            picker_pick(&picker, now_us, peer, QUEUE - peer->n_requests, blocks);
        n -= receive(peer);
    }
}

/* --- choker ---------------------------------------------------------------------------------- */

static struct choker choker;
static struct choker_peer choked[N_CHOKED];

static void setup_choker(void)
{
    choker_init(&choker, &mem, &rng, now_us, 0, 50u << 20);
    for (uint32_t i = 0; i < N_CHOKED; i++) {
        choker_peer_init(&choked[i]);
        choked[i].is_seeding = i % 2;
        choked[i].piece_len = 1u << 20;
        choked[i].down_per_s = rng_below(&rng, 1000000);
        expect(choker_add(&choker, now_us, &choked[i]) == ERR_OK);
        choker_on_interest(&choker, now_us, &choked[i], true);
    }
}

static void run_rechoke(uint32_t n)
{
    while (n--) {
        for (uint32_t i = n % 10; i < N_CHOKED; i += 10)
            choked[i].down_per_s = rng_below(&rng, 1000000);
        now_us += CHOKER_RECHOKE_US;
        choker_on_tick(&choker, now_us);
        while (choker_next_change(&choker))
            ;
    }
}

static void run_interest(uint32_t n)
{
    while (n--)
        choker_on_interest(&choker, now_us, &choked[n * 7 % N_CHOKED], n / N_CHOKED % 2);
}

/* --- peer list ------------------------------------------------------------------------------- */

static struct peer_list list;

static void run_gossip(uint32_t n)
{
    while (n--) {
        uint32_t ip = rng_below(&rng, 20000);
        struct addr a = addr_v4(20, 0, (uint8_t)(ip >> 8), (uint8_t)ip, 6881);
        peer_list_add(&list, now_us += 1000, &a, PEER_FROM_PEX, n % 7 == 0);
    }
}

static void setup_list(void)
{
    struct addr own = addr_v4(198, 51, 100, 7, 6881);
    peer_list_init(&list, &mem, &rng, 0);
    peer_list_set_own(&list, &own);
    run_gossip(10000);
}

static void run_dial(uint32_t n)
{
    while (n--) {
        struct peer_entry *e = peer_list_next(&list, now_us, NULL);
        if (!e)
            now_us = peer_list_deadline_us(&list);
        else
            peer_list_on_failed(&list, now_us, e);
    }
}

/* --- tracker --------------------------------------------------------------------------------- */

static struct tracker_server *tracker;

static void announce(uint32_t i, uint32_t numwant)
{
    static uint8_t reply[TRACKER_SERVER_UDP_CAP];
    uint8_t request[98] = {0};
    struct addr from = addr_v4(20, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i, 6881);
    struct writer w = writer_init(request, 16);
    writer_u64be(&w, 0x41727101980u);
    writer_u32be(&w, 0);
    writer_u32be(&w, i);
    expect(tracker_server_udp(tracker, now_us, &from, bytes_of(request, 16), reply) == 16);
    w = writer_init(request, sizeof request);
    writer_put(&w, bytes_of(reply + 8, 8));
    writer_u32be(&w, 1);
    writer_u32be(&w, i);
    writer_u32be(&w, i % N_SWARMS);
    request[83] = 0;
    request[71] = 1; /* left */
    request[95] = (uint8_t)numwant;
    request[96] = 26;
    expect(tracker_server_udp(tracker, now_us, &from, bytes_of(request, 98), reply) >= 20);
}

static void setup_tracker(void)
{
    struct tracker_server_config config = {.secret = {1, 2, 3}};
    expect(tracker_server_new(&tracker, &mem, &config, now_us, 5) == ERR_OK);
    for (uint32_t i = 0; i < 20 * N_SWARMS; i++)
        announce(i, 0);
}

static void run_announce(uint32_t n)
{
    while (n--)
        announce(rng_below(&rng, 20 * N_SWARMS), 50);
}

/* --- main ------------------------------------------------------------------------------------ */

static void setup_nothing(void)
{
}

static const struct {
    const char *name;
    uint32_t n;
    void (*setup)(void);
    void (*run)(uint32_t n);
} rows[] = {
    {"bencode-parse-1000-files", 50, setup_document, run_parse},
    {"bencode-walk-1000-files", 50, setup_walk, run_walk},
    {"bencode-write-1000-files", 50, setup_nothing, run_write},
    {"bencode-extension-handshake", 2000, setup_nothing, run_message},
    {"merkle-root-64-leaves", 200, setup_leaves, run_root},
    {"merkle-tree-63-of-64", 200, setup_leaves, run_tree},
    {"wire-in-64-KiB-of-messages", 20, setup_wire, run_wire_in},
    {"wire-read-request", 10000, setup_nothing, run_wire_read},
    {"wire-write-request-piece-have", 10000, setup_nothing, run_wire_out},
    {"picker-have", 10000, setup_picker, run_have},
    {"picker-block", 20000, setup_picker, run_block},
    {"choker-rechoke-1000-peers", 50, setup_choker, run_rechoke},
    {"choker-interest", 10000, setup_choker, run_interest},
    {"peer-list-gossip", 20000, setup_list, run_gossip},
    {"peer-list-dial", 20000, setup_list, run_dial},
    {"tracker-connect-announce", 5000, setup_tracker, run_announce},
};

int main(int argc, char **argv)
{
    size_t n_rows = sizeof rows / sizeof rows[0];
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    rng_init(&rng, 1);
    for (size_t i = 0; i < n_rows; i++) {
        if (argc == 2 && strcmp(argv[1], "list") == 0)
            printf("%s %u\n", rows[i].name, rows[i].n);
        if (argc != 3 || strcmp(argv[1], rows[i].name) != 0)
            continue;
        rows[i].setup();
        rows[i].run((uint32_t)strtoul(argv[2], NULL, 10));
        return 0;
    }
    return argc == 2 ? 0 : 2; /* what was made lives as long as the process */
}
