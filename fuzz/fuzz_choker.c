#include "../tests/choker_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len <= 8192)
        choker_model_run(data, len);
    return 0;
}
