// The linker's build id of the program, by which the binary and its debug symbols of a dead process's ring are found again.
#include "sdk/ring.h"
#include <elf.h>
#include <link.h>
#include <sys/auxv.h>

struct wanted {
    uint8_t *out;
    size_t n, max;
};

static bool look_in_notes(const char *p, size_t n, struct wanted *w)
{
    ElfW(Nhdr) h;
    while (n >= sizeof h) {
        memcpy(&h, p, sizeof h);
        size_t name = (h.n_namesz + 3u) & ~3u, size = (h.n_descsz + 3u) & ~3u;
        if (name > n - sizeof h || size > n - sizeof h - name)
            return false;
        if (h.n_type == NT_GNU_BUILD_ID && h.n_namesz == 4 && memcmp(p + sizeof h, "GNU", 4) == 0) {
            w->n = h.n_descsz < w->max ? h.n_descsz : w->max;
            memcpy(w->out, p + sizeof h + name, w->n);
            return true;
        }
        p += sizeof h + name + size;
        n -= sizeof h + name + size;
    }
    return false;
}

size_t ring_build_id(uint8_t *out, size_t max)
{
    // From the kernel's word, not the loader's: that one has a lock, which stands outside of ours and may be held in a fork.
    const ElfW(Phdr) *headers = (const ElfW(Phdr) *)(uintptr_t)getauxval(AT_PHDR);
    struct wanted w = {.out = out, .max = max};
    size_t n = getauxval(AT_PHNUM);
    uintptr_t base = 0;
    bool found = false;
    for (size_t i = 0; headers && i < n && !found;
         i++) // a static program has no entry for the table itself: it follows the file's head
        if ((found = headers[i].p_type == PT_PHDR || (headers[i].p_type == PT_LOAD && headers[i].p_offset == 0)))
            base = (uintptr_t)headers - headers[i].p_vaddr - (headers[i].p_type == PT_LOAD ? sizeof(ElfW(Ehdr)) : 0);
    for (size_t i = 0; found && i < n; i++)
        if (headers[i].p_type == PT_NOTE && look_in_notes((const char *)(base + headers[i].p_vaddr), headers[i].p_memsz, &w))
            break;
    return w.n;
}
