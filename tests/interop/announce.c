/* announce: shoal's announcer on its own, asking one real tracker.
 *
 *     announce BIND PORT INFOHASH LEFT URL [STAY_S]
 *
 * Says started, stays for STAY_S seconds (announcing as the tracker wants), says completed if LEFT was
 * not 0, says stopped. Prints "peer ADDR" for each peer learned, "good", "bad WHY", "counts SEEDS LEECHERS",
 * "stopped". Exit code 0 when the first announce succeeded and stopped was told.
 */
#include "announcer_host.h"
#include "base/hex.h"

#define WAIT_US 20000000u

static int usage(void)
{
    fprintf(stderr, "usage: announce BIND PORT INFOHASH LEFT URL [STAY_S]\n");
    return 2;
}

static void print_all(const struct announcer_host *h)
{
    struct announcer_tracker_status status;
    for (size_t i = 0; i < h->n_peers; i++) {
        char text[ADDR_TEXT_CAP];
        printf("peer %s\n", addr_format(&h->peers[i], text));
    }
    if (h->n_bad)
        printf("bad %s\n", h->last_error);
    if (announcer_tracker_status(h->a, 1, 0, &status))
        printf("counts %u %u\n", status.n_seeders, status.n_leechers);
}

/* One torrent's life at the tracker. */
static bool run(struct announcer_host *h, const uint8_t hash[20], const char *url, unsigned stay_s)
{
    static const unsigned never = 0;
    struct loop *l = h->loop;
    bool had_left = h->progress.left > 0;
    if (announcer_add(h->a, 1, hash, NULL, &h->progress) ||
        announcer_add_tracker(h->a, loop_now_us(l), 1, 0, bytes_of_str(url), true))
        return false;
    announcer_start(h->a, loop_now_us(l), 1);
    if (!announcer_host_wait(h, &h->n_ended, 1, WAIT_US) || h->n_good == 0)
        return false;
    printf("good\n");
    fflush(stdout);
    announcer_host_wait(h, &never, 1, (uint64_t)stay_s * US_PER_S);
    if (had_left) {
        unsigned n = h->n_ended;
        h->progress.left = 0;
        announcer_completed(h->a, loop_now_us(l), 1);
        announcer_host_wait(h, &h->n_ended, n + 1, WAIT_US);
    }
    announcer_scrape(h->a, loop_now_us(l), 1);
    announcer_host_wait(h, &h->n_ended, h->n_ended + 1, WAIT_US);
    print_all(h);
    announcer_stop(h->a, loop_now_us(l), 1);
    return announcer_host_wait(h, &h->n_stopped, 1, WAIT_US);
}

int main(int argc, char **argv)
{
    static struct announcer_host h;
    struct loop *loop;
    uint8_t hash[20];
    if (argc < 6 || argc > 7 || hex_decode(bytes_of_str(argv[3]), hash, sizeof hash))
        return usage();
    if (loop_new(&loop, NULL) ||
        !announcer_host_open(&h, loop, argv[1], (uint16_t)strtoul(argv[2], NULL, 10)))
        return 1;
    h.progress.left = strtoull(argv[4], NULL, 10);
    bool is_done = run(&h, hash, argv[5], argc > 6 ? (unsigned)strtoul(argv[6], NULL, 10) : 0);
    if (is_done)
        printf("stopped\n");
    else
        print_all(&h);
    announcer_host_close(&h);
    loop_free(loop);
    return is_done ? 0 : 1;
}
