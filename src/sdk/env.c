#include "sdk/env.h"
#include <stdlib.h>

const char *env_get(const char *name)
{
    return getenv(name);
}

const char *env_get_path(const char *name)
{
    return secure_getenv(name);
}
