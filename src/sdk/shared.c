// Only in libsonde.so. Debian's libnghttp2.a is position-independent but for one access to stderr, in a debugging function that
// is never called; the linker redirects that name here (--wrap=stderr), so that the library needs nothing but libc at run time.
#include <stdio.h>

FILE *__wrap_stderr __attribute__((visibility("hidden")));
