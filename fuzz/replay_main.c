/* replay_main: runs a fuzz target over every file of a corpus folder, so that the corpora are
 * ordinary tests. Each input is copied into a block of exactly its size first, so that a sanitizer
 * sees any read past the end.
 */
#include <dirent.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define INPUT_LEN_MAX (16u << 20)

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return 1;
    uint8_t *whole = malloc(INPUT_LEN_MAX);
    size_t len = whole ? fread(whole, 1, INPUT_LEN_MAX, f) : 0;
    fclose(f);
    uint8_t *exact = malloc(len ? len : 1);
    if (!whole || !exact)
        return 1;
    memcpy(exact, whole, len);
    LLVMFuzzerTestOneInput(exact, len);
    free(exact);
    free(whole);
    return 0;
}

int main(int argc, char **argv)
{
    unsigned n = 0;
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        if (!dir)
            continue;
        for (struct dirent *e; (e = readdir(dir));) {
            char path[4096];
            if (e->d_name[0] == '.')
                continue;
            snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
            if (replay_file(path))
                return fprintf(stderr, "cannot read %s\n", path), 1;
            n++;
        }
        closedir(dir);
    }
    printf("%u inputs replayed\n", n);
    return 0;
}
