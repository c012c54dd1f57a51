// Values with units, as they stand in log fields and in queries: numbers, durations, byte sizes, addresses.
#pragma once
#include "base/error.h"
#include "base/slice.h"

// A float as Go's strconv.ParseFloat takes it: also Inf, infinity, NaN, 1_000, hex with a p exponent; not 0x1F.
bool unit_number(struct slice s, double *out);
// "1h15m30.9s", "-3ms", "0"; a unit is needed. Go's units (ns us µs ms s m h).
bool unit_duration(struct slice s, int64_t *ns);
// The same with d (24 h), w (7 d), y (365 d): literals of queries.
bool unit_duration_long(struct slice s, int64_t *ns);
// "1.5MB", "2 KiB", "512": any case, k and ki with or without b; up to EiB.
bool unit_bytes(struct slice s, double *out);
// Appends the duration as Go prints it: 5m0s, 1h30m0s, 1.5s, 300ms.
struct buf;
void unit_duration_text(struct buf *b, int64_t ns);
// … as it would be written in a range: 5m, 1h30m, 1d.
void unit_range_text(struct buf *b, int64_t ns);

// An address, or a closed range of them.
struct ip {
    unsigned char b[16];
    bool v6;
};
struct ip_range {
    struct ip from, to;
};
bool ip_parse(struct slice s, struct ip *out); // strict, like Go's netip
// "addr", "cidr" or "from-to".
enum errc ip_range_parse(struct slice s, struct ip_range *out, struct error *err);
bool ip_in(const struct ip_range *r, const struct ip *a);
// Any address written in the line lies in the range.
bool ip_line(const struct ip_range *r, struct slice line);
