#include "base/clock.h"
#include <pthread.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

enum { NS = 1000000000 };

static int64_t read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * NS + t.tv_nsec;
}

int64_t clock_wall_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}
int64_t clock_mono_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

bool clock_use_tsc;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void choose(void)
{
#if defined(__x86_64__)
    unsigned a, b, c, d;
    // "Invariant TSC": same rate in every power state (Intel SDM 17.17.1, AMD APM 3 E.4.7).
    clock_use_tsc = __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & 1u << 8);
#endif
}

void clock_init(void)
{
    pthread_once(&once, choose);
}

uint64_t clock_tick_slow(void)
{
    return (uint64_t)clock_mono_ns();
}

// ---- calibration ----------------------------------------------------------------------------------------------------
// One moment on three clocks.
struct moment {
    uint64_t tick;
    int64_t wall, mono;
};

// Several readings, the tightest wins: a preempted one has its ticks far apart.
static struct moment read_moment(void)
{
    struct moment best = {0};
    uint64_t best_gap = UINT64_MAX;
    for (int i = 0; i < 8; i++) {
        uint64_t t0 = clock_tick();
        int64_t wall = clock_wall_ns();
        uint64_t t1 = clock_tick();
        int64_t mono = clock_mono_ns();
        uint64_t t2 = clock_tick();
        if (t2 - t0 >= best_gap)
            continue;
        best_gap = t2 - t0;
        uint64_t middle = t0 + (t1 - t0) / 2, mono_at = t1 + (t2 - t1) / 2;
        // The monotonic reading is moved back to the moment of the wall reading; the gap is tens of nanoseconds.
        best = (struct moment){middle, wall, mono - (int64_t)((mono_at - middle) / 3)};
    }
    return best;
}

enum { SHIFT = 32 };
static pthread_mutex_t cal_lock = PTHREAD_MUTEX_INITIALIZER; // a leaf: nothing is locked under it
static struct moment first;
static uint64_t last_mult; // 0: not calibrated yet

// Nanoseconds a tick between two moments, times 2^32. Monotonic time is slewed as wall time is, but never steps.
static uint64_t rate(const struct moment *a, const struct moment *b)
{
    if (b->tick <= a->tick || b->mono <= a->mono)
        return 0;
    return (uint64_t)(((unsigned __int128)(uint64_t)(b->mono - a->mono) << SHIFT) / (b->tick - a->tick));
}

static uint64_t measure(struct moment *now)
{
    for (int64_t wait = NS / 1000;; wait *= 2) {
        first = read_moment();
        while (clock_mono_ns() < first.mono + wait)
            ; // a sleep would cost more than the millisecond it asks for
        *now = read_moment();
        uint64_t mult = rate(&first, now);
        if (mult || wait > NS / 8)
            return mult ? mult : (uint64_t)1 << SHIFT;
    }
}

void clock_calibrate(struct clock_cal *c)
{
    clock_init();
    if (!clock_use_tsc) {
        struct moment now = read_moment();
        *c = (struct clock_cal){.base_tick = now.tick, .base_wall = now.wall, .mult = 1};
        return;
    }
    pthread_mutex_lock(&cal_lock);
    struct moment now;
    if (last_mult == 0) {
        last_mult = measure(&now);
    } else {
        now = read_moment();
        uint64_t mult = rate(&first, &now);
        uint64_t off = mult > last_mult ? mult - last_mult : last_mult - mult;
        if (mult == 0 || off > last_mult / 500)
            last_mult = measure(&now); // the machine was suspended or moved: what was learnt holds no more
        else if (now.mono - first.mono > NS / 100)
            last_mult = mult;
    }
    *c = (struct clock_cal){.base_tick = now.tick, .base_wall = now.wall, .mult = last_mult, .shift = SHIFT, .is_tsc = 1};
    pthread_mutex_unlock(&cal_lock);
}

int64_t clock_to_wall(const struct clock_cal *c, uint64_t tick)
{
    __int128 ahead = (int64_t)(tick - c->base_tick); // a tick from before the base is negative
    return c->base_wall + (int64_t)((ahead * (__int128)c->mult) >> c->shift);
}

// ---- RFC 3339 -------------------------------------------------------------------------------------------------------
// Days since 1970-01-01 of the proleptic Gregorian calendar, and back (years counted from March, in eras of 400).
static int64_t days_from_civil(int64_t y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static void civil_from_days(int64_t z, int *y, int *m, int *d)
{
    z += 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *d = (int)(doy - (153 * mp + 2) / 5 + 1);
    *m = (int)(mp < 10 ? mp + 3 : mp - 9);
    *y = (int)(yoe + era * 400 + (*m <= 2));
}

static char *put_number(char *p, int64_t v, int digits)
{
    for (int i = digits; i-- > 0; v /= 10)
        p[i] = (char)('0' + v % 10);
    return p + digits;
}

int time_format(char *out, int64_t wall_ns, int digits, bool local)
{
    int64_t sec = wall_ns / NS, ns = wall_ns % NS;
    if (ns < 0) {
        ns += NS;
        sec--;
    }
    int offset = 0; // minutes east of Greenwich
    struct tm tm;
    time_t t = (time_t)sec;
    if (local && localtime_r(&t, &tm))
        offset = (int)(tm.tm_gmtoff / 60);
    sec += offset * 60;
    int64_t day = sec / 86400, in_day = sec % 86400;
    if (in_day < 0) {
        in_day += 86400;
        day--;
    }
    int y, m, d;
    civil_from_days(day, &y, &m, &d);
    char *p = put_number(out, y, 4);
    *p++ = '-';
    p = put_number(p, m, 2);
    *p++ = '-';
    p = put_number(p, d, 2);
    *p++ = 'T';
    p = put_number(p, in_day / 3600, 2);
    *p++ = ':';
    p = put_number(p, in_day / 60 % 60, 2);
    *p++ = ':';
    p = put_number(p, in_day % 60, 2);
    if (digits > 0) {
        char all[9];
        put_number(all, ns, 9);
        *p++ = '.';
        digits = digits > 9 ? 9 : digits;
        memcpy(p, all, (size_t)digits);
        p += digits;
    }
    if (local) {
        *p++ = offset < 0 ? '-' : '+';
        offset = offset < 0 ? -offset : offset;
        p = put_number(p, offset / 60, 2);
        *p++ = ':';
        p = put_number(p, offset % 60, 2);
    } else {
        *p++ = 'Z';
    }
    *p = 0;
    return (int)(p - out);
}

struct scan {
    const char *p, *end;
};

static bool number(struct scan *s, int digits, int least, int most, int *v)
{
    if (s->end - s->p < digits)
        return false;
    *v = 0;
    for (int i = 0; i < digits; i++) {
        unsigned d = (unsigned char)*s->p++ - '0';
        if (d > 9)
            return false;
        *v = *v * 10 + (int)d;
    }
    return *v >= least && *v <= most;
}

static bool one_of(struct scan *s, const char *set)
{
    return s->p < s->end && *s->p && strchr(set, *s->p) && s->p++;
}

static bool fraction(struct scan *s, int64_t *ns)
{
    int64_t unit = NS / 10;
    const char *from = s->p;
    for (; s->p < s->end && *s->p >= '0' && *s->p <= '9'; s->p++) {
        *ns += (*s->p - '0') * unit; // digits beyond the ninth have unit 0
        unit /= 10;
    }
    return s->p > from;
}

static bool zone(struct scan *s, int *minutes)
{
    if (one_of(s, "Zz"))
        return true;
    int sign = s->p < s->end && *s->p == '-' ? -1 : 1, h, m;
    if (!one_of(s, "+-") || !number(s, 2, 0, 23, &h) || !one_of(s, ":") || !number(s, 2, 0, 59, &m))
        return false;
    *minutes = sign * (h * 60 + m);
    return true;
}

bool time_parse(const char *p, unsigned long n, int64_t *wall_ns)
{
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    struct scan s = {p, p + n};
    int y, mo, d, h, mi, sec, offset = 0;
    int64_t ns = 0;
    if (!number(&s, 4, 0, 9999, &y) || !one_of(&s, "-") || !number(&s, 2, 1, 12, &mo) || !one_of(&s, "-") ||
        !number(&s, 2, 1, days[mo - 1], &d) || !one_of(&s, "Tt ") || !number(&s, 2, 0, 23, &h) || !one_of(&s, ":") ||
        !number(&s, 2, 0, 59, &mi) || !one_of(&s, ":") || !number(&s, 2, 0, 60, &sec))
        return false;
    if (mo == 2 && d == 29 && (y % 4 != 0 || (y % 100 == 0 && y % 400 != 0)))
        return false;
    if (one_of(&s, ".") && !fraction(&s, &ns))
        return false;
    if (!zone(&s, &offset) || s.p != s.end)
        return false;
    // A leap second (60) counts as the first of the next minute, as POSIX time does.
    int64_t t = days_from_civil(y, mo, d) * 86400 + h * 3600 + (mi - offset) * 60 + sec;
    // Before 1970 the whole seconds alone may not fit though the sum does, so add in 128 bits.
    __int128 whole = (__int128)t * NS + ns;
    if (whole < INT64_MIN || whole > INT64_MAX)
        return false;
    *wall_ns = (int64_t)whole;
    return true;
}
