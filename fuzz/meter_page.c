// Instruments of any unit, description, scope and attributes: the page is one that a parser of Prometheus text takes, in each
// form.
#include "sdk/meter.h"
#include "sdk/metric_parse.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char part[6][64]; // lines: unit, description, scope, key, value, second key
    struct slice rest = slice_of(data, size < 400 ? size : 400), line;
    for (int i = 0; i < 6; i++) {
        struct slice s = rest.p && slice_split(&rest, '|', &line) ? slice_cut(line, 63) : SLICE("");
        if (s.n)
            memcpy(part[i], s.p, s.n);
        part[i][s.n] = 0;
    }
    struct sonde_meter_provider *p = sonde_meter_provider_new(&(struct sonde_meter_provider_options){.is_private = true});
    struct sonde_meter *m = sonde_meter_get(p, &(struct sonde_scope){.name = part[2][0] ? part[2] : "s"});
    const struct sonde_field f[] = {SONDE_FIELD(SONDE_STR(part[3], part[4])), SONDE_FIELD(SONDE_STR(part[5], part[4])),
                                    SONDE_FIELD(SONDE_INT(part[5], 1))};
    for (int k = SONDE_INSTRUMENT_COUNTER; k <= SONDE_INSTRUMENT_GAUGE; k++) {
        char name[] = {'n', (char)('0' + k), 0};
        bool ascii = true;
        for (const char *u = part[0]; *u; u++)
            ascii = ascii && (unsigned char)*u < 0x80; // another unit is told in the log
        struct sonde_instrument_options o = {.name = name, .unit = ascii ? part[0] : "", .description = part[1]};
        sonde_instrument_add(sonde_instrument_new(m, (enum sonde_instrument_kind)k, &o), 3, f, (size_t)k % 4);
    }
    struct sonde_meter_page_options o = {.no_target_info = true};
    for (int e = SONDE_EXPOSITION_TEXT; e <= SONDE_EXPOSITION_PROTOBUF; e++) {
        size_t n;
        char *page = sonde_meter_text(p, &o, (enum sonde_exposition)e, &n);
        struct arena a;
        struct expfmt parsed;
        arena_init(&a, MIB(1));
        if (!page || (e == SONDE_EXPOSITION_TEXT && expfmt_parse(&parsed, slice_of(page, n), &a, NULL) != ERR_OK) ||
            (e == SONDE_EXPOSITION_TEXT && parsed.n_families != 4) || (e == SONDE_EXPOSITION_PROTOBUF && n == 0))
            abort();
        arena_free(&a);
        free(page);
    }
    sonde_meter_provider_free(p);
    return 0;
}
