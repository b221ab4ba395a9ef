/* download: fetch one torrent with libshoal.
 *
 *     cc download.c $(pkg-config --cflags --libs shoal) -o download
 *     ./download FILE.torrent|URL|MAGNET DIR [PEER:PORT]
 */
#include <shoal/shoal.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc < 3)
        return fprintf(stderr, "usage: %s TORRENT DIR [PEER:PORT]\n", argv[0]), 2;

    struct shoal_session *session;
    struct shoal_session_options options;
    struct shoal_note note;
    shoal_session_options_init(&options);
    if (shoal_session_new(&session, &options, &note) != SHOAL_OK)
        return fprintf(stderr, "%s\n", note.text), 1;

    struct shoal_torrent_options what;
    uint32_t torrent;
    shoal_torrent_options_init(&what);
    what.dir = argv[2];
    what.peers = (const char *const *)&argv[3];
    what.n_peers = (size_t)argc - 3;
    if (shoal_torrent_add(session, &torrent, argv[1], &what, &note) != SHOAL_OK)
        return fprintf(stderr, "%s\n", note.text), 1;

    struct shoal_status status = {0};
    while (status.state != SHOAL_STATE_SEEDING && status.state != SHOAL_STATE_ERROR) {
        struct shoal_event event;
        shoal_session_run(session, 1000);
        while (shoal_session_next_event(session, &event))
            if (event.kind == SHOAL_EVENT_ERROR)
                fprintf(stderr, "%s\n", event.note.text);
        shoal_torrent_status(session, torrent, &status);
        printf("\r%-11s %5.1f %%  %u peers", shoal_state_name(status.state),
               status.wanted_len
                   ? 100.0 * (double)status.have_wanted_len / (double)status.wanted_len
                   : 0.0,
               status.n_peers);
        fflush(stdout);
    }
    printf("\n");
    shoal_session_free(session, 5000);
    return status.state == SHOAL_STATE_SEEDING ? 0 : 1;
}
