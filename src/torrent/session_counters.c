#include "torrent/session_counters.h"

const struct metrics_desc session_counter_descs[N_SESSION_COUNTERS] = {
#define X(name, help) {#name, help},
    SESSION_COUNTERS(X)
#undef X
};
