// Libraries of the host system that are looked for at run time.
#pragma once
#include <dlfcn.h>

// A host program that brings its own copy of a library, or exports names like its, must not have these taken for the real ones:
// the library looks into itself first. Sanitizers refuse that; under them such hosts are not expected.
static inline void *lib_open(const char *name)
{
    int own = dlsym(RTLD_DEFAULT, "__sanitizer_print_stack_trace") ? 0 : RTLD_DEEPBIND;
    return dlopen(name, RTLD_NOW | RTLD_LOCAL | own);
}
