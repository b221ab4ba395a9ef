/* Hashing beside libcrypto's one-message rate, in one run: messages of 16 KiB and 1 MiB, merkle
 * pairs. Rates of one core; the table is the median of N_ROUNDS interleaved rounds.
 */
#include "bench_clock.h"
#include "crypto/sha_lanes.h"

#define N_ROUNDS    9
#define N_MESSAGES  8
#define MESSAGE_LEN (1u << 20)
#define N_PAIRS     4096

static uint8_t data[N_MESSAGES][MESSAGE_LEN];
static uint8_t level[2 * N_PAIRS][SHA256_LEN];
static uint8_t digests[N_MESSAGES * MESSAGE_LEN / 16384][SHA256_LEN];
static uint8_t digests1[N_MESSAGES][SHA1_LEN];

static double now_s(void)
{
    return clock_s(CLOCK_MONOTONIC);
}

static void run_sha1(void)
{
    struct bytes in[N_MESSAGES];
    for (size_t i = 0; i < N_MESSAGES; i++)
        in[i] = bytes_of(data[i], MESSAGE_LEN);
    sha1_many(in, N_MESSAGES, digests1);
}

static void run_leaves(void)
{
    struct bytes in[MESSAGE_LEN / 16384];
    for (size_t m = 0; m < N_MESSAGES; m++) {
        for (size_t i = 0; i < MESSAGE_LEN / 16384; i++)
            in[i] = bytes_of(data[m] + i * 16384, 16384);
        sha256_many(in, MESSAGE_LEN / 16384, digests + m * (MESSAGE_LEN / 16384));
    }
}

static void run_pairs(void)
{
    sha256_pairs((const uint8_t(*)[SHA256_LEN])level, N_PAIRS, digests);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Median seconds of run(), with the lanes on or off. */
static double median(double *rounds)
{
    qsort(rounds, N_ROUNDS, sizeof *rounds, by_value);
    return rounds[N_ROUNDS / 2];
}

static void compare(const char *what, void (*run)(void), double amount, const char *unit)
{
    double seconds[2][N_ROUNDS];
    for (int r = 0; r < N_ROUNDS; r++)
        for (int is_off = 0; is_off < 2; is_off++) {
            sha_lanes_set_off(is_off);
            double began = now_s();
            run();
            seconds[is_off][r] = now_s() - began;
        }
    sha_lanes_set_off(false);
    double lanes = median(seconds[0]), one = median(seconds[1]);
    printf("| %-22s | %8.0f %s | %8.0f %s | %.2f |\n", what, amount / lanes, unit, amount / one,
           unit, one / lanes);
}

int main(void)
{
    for (size_t m = 0; m < N_MESSAGES; m++)
        for (size_t i = 0; i < MESSAGE_LEN; i++)
            data[m][i] = (uint8_t)(i * (m + 3) >> 4);
    printf("%s, one core, median of %d rounds\n\n", sha_lanes_name(), N_ROUNDS);
    printf("| %-22s | %-13s | %-13s | ratio |\n| --- | --- | --- | --- |\n", "what", "lanes",
           "libcrypto");
    double mb = N_MESSAGES * (double)MESSAGE_LEN / 1e6;
    compare("SHA-1, 1 MiB pieces", run_sha1, mb, "MB/s");
    compare("SHA-256, 16 KiB leaves", run_leaves, mb, "MB/s");
    compare("SHA-256, merkle pairs", run_pairs, N_PAIRS / 1e3, "k/s ");
    return 0;
}
