/* The coins cache against its model: the input is a script of operations (coins_model.h). */
#include "../tests/coins_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct coins_model m;
    if (len > 0 && len <= 1500)
        coins_model_run(&m, data + 1, len - 1, data[0] % 2 ? 65536 : 1 << 20);
    return 0;
}
