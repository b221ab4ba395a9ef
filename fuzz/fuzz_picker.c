#include "../tests/picker_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint64_t n_received = 0, n_good = 0;
    if (len <= 4096)
        model_run(data, len, &n_received, &n_good);
    return 0;
}
