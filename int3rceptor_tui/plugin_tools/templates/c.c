/* NAME: adds a header to every response. */
#include "int3.h"

INT3_ABI_V1

INT3_HOOK(on_response) {
    int3_set_header("X-Plugin", "NAME");
    return INT3_CONTINUE;
}
