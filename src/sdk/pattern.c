// The pattern becomes a program of steps that go from one to others; all places where the program may be are followed at once
// through the text (Thompson 1968).
#include "sdk/pattern.h"
#include "base/utf8.h"
#include <string.h>

enum op { OP_CHAR, OP_ANY, OP_CLASS, OP_GROUP, OP_START, OP_END, OP_JUMP, OP_SPLIT, OP_DONE };
enum { NEST_MAX = 32, REPEAT_MAX = 255 };

struct step {
    uint8_t op;
    bool others;       // OP_CLASS: everything else
    int16_t to, other; // relative
    uint32_t at, end;  // OP_CHAR: the code point; OP_GROUP: its letter; OP_CLASS: its text in the pattern
};
struct program {
    struct slice in;
    size_t at;
    unsigned n, nested;
    bool fold; // capital letters are like small ones
    const char *why;
    struct step step[PATTERN_MAX];
};

bool pattern_is(struct slice pattern)
{
    for (size_t i = 0; i < pattern.n; i++)
        if (strchr(".[](){}|*+?^$\\", pattern.p[i]) && pattern.p[i])
            return true;
    return false;
}

static uint32_t small(const struct program *p, uint32_t c)
{
    return p->fold && c - 'A' < 26 ? c + 32 : c;
}

static bool more(const struct program *p)
{
    return p->at < p->in.n;
}
static char peek(const struct program *p)
{
    return p->in.p[p->at];
}
static bool take(struct program *p, char c)
{
    bool is = more(p) && peek(p) == c;
    p->at += is;
    return is;
}
static uint32_t take_code(struct program *p)
{
    int n;
    uint32_t c = utf8_decode(slice_from(p->in, p->at), &n);
    p->at += (size_t)n;
    return c;
}

static void wrong(struct program *p, const char *why)
{
    if (!p->why)
        p->why = why;
    p->at = p->in.n;
}

static struct step *add(struct program *p, enum op op)
{
    if (p->n == PATTERN_MAX) {
        wrong(p, "the regular expression is too long");
        p->n--;
    }
    p->step[p->n] = (struct step){.op = (uint8_t)op};
    return &p->step[p->n++];
}

// Room for a step before `at`; steps go to others relatively and within one piece, so that a piece moves as it is.
static struct step *insert(struct program *p, unsigned at)
{
    add(p, OP_JUMP);
    memmove(p->step + at + 1, p->step + at, (p->n - 1 - at) * sizeof *p->step);
    p->step[at] = (struct step){.op = OP_SPLIT};
    return &p->step[at];
}

// ---- classes --------------------------------------------------------------------------------------------------------
// \d and its like; false if c is none.
static bool group(uint32_t kind, uint32_t c, bool *in)
{
    bool digit = c - '0' < 10, word = digit || (c | 32) - 'a' < 26 || c == '_' || c >= 0x80;
    bool space = c == ' ' || c - 9 < 5;
    switch (kind | 32) {
    case 'd':
        *in = digit;
        break;
    case 'w':
        *in = word;
        break;
    case 's':
        *in = space;
        break;
    default:
        return false;
    }
    *in = *in != (kind < 'a');
    return true;
}

static uint32_t escaped(uint32_t c)
{
    return c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
}

// One end of a range within [ ]. False: it was a group.
static bool take_end(struct program *p, uint32_t c, uint32_t *end, bool *found)
{
    bool in;
    *end = take_code(p);
    if (*end != '\\' || !more(p))
        return true;
    *end = take_code(p);
    if (group(*end, c, &in)) {
        *found = *found || in;
        return false;
    }
    *end = escaped(*end);
    return true;
}

// Reads the class that begins at p->at, behind [ and ^, up to and with its ]; says whether c is in.
static bool read_class(struct program *p, uint32_t c)
{
    bool found = false;
    uint32_t from, to;
    for (bool first = true; more(p) && (first || peek(p) != ']'); first = false) {
        if (!take_end(p, c, &from, &found))
            continue;
        to = from;
        if (p->at + 1 < p->in.n && peek(p) == '-' && p->in.p[p->at + 1] != ']') {
            p->at++;
            if (!take_end(p, c, &to, &found) || to < from)
                wrong(p, "a range within [] makes no sense");
        }
        found = found || (c >= from && c <= to) || (p->fold && (c | 32) - 'a' < 26 && (c ^ 32) >= from && (c ^ 32) <= to);
    }
    if (!take(p, ']'))
        wrong(p, "']' is missing in the regular expression");
    return found;
}

static bool class_has(const struct program *p, const struct step *s, uint32_t c)
{
    struct program sub;
    sub.in = slice_cut(p->in, s->end);
    sub.at = s->at;
    sub.fold = p->fold;
    sub.why = NULL;
    return read_class(&sub, c) != s->others;
}

// ---- compiling ------------------------------------------------------------------------------------------------------
static void alternatives(struct program *p);

static void atom(struct program *p)
{
    uint32_t c = take_code(p);
    bool in;
    struct step *s;
    switch (c) {
    case '.':
        add(p, OP_ANY);
        return;
    case '^':
        add(p, OP_START);
        return;
    case '$':
        add(p, OP_END);
        return;
    case '[':
        s = add(p, OP_CLASS);
        s->others = take(p, '^');
        s->at = (uint32_t)p->at;
        read_class(p, 0);
        s->end = (uint32_t)p->at;
        return;
    case '(':
        if (take(p, '?') && !take(p, ':'))
            wrong(p, "of the groups that begin with (? only (?: ) is known");
        alternatives(p);
        if (!take(p, ')'))
            wrong(p, "')' is missing in the regular expression");
        return;
    case '*':
    case '+':
    case '?':
    case '{':
        wrong(p, "there is nothing to repeat in the regular expression");
        return;
    case '\\':
        if (!more(p)) {
            wrong(p, "the regular expression ends with a backslash");
            return;
        }
        c = take_code(p);
        if (group(c, 0, &in)) {
            add(p, OP_GROUP)->at = c;
            return;
        }
        if ((c | 32) - 'a' < 26 && escaped(c) == c) {
            wrong(p, "a letter behind a backslash that the regular expression does not know");
            return;
        }
        c = escaped(c);
        break;
    default:
        break;
    }
    add(p, OP_CHAR)->at = small(p, c);
}

// {m}, {m,} or {m,n}, behind the brace.
static void take_counts(struct program *p, unsigned *least, unsigned *most)
{
    unsigned n[2] = {0, 0}, digits[2] = {0, 0};
    bool comma = false;
    for (; more(p) && ((unsigned)(peek(p) - '0') < 10 || (peek(p) == ',' && !comma)); p->at++) {
        if (peek(p) == ',') {
            comma = true;
        } else {
            n[comma] = n[comma] * 10 + (unsigned)(peek(p) - '0');
            n[comma] = n[comma] < 10000 ? n[comma] : 10000;
            digits[comma]++;
        }
    }
    *least = n[0];
    *most = !comma ? n[0] : digits[1] ? n[1] : UINT32_MAX;
    if (!take(p, '}') || !digits[0] || *least > *most || *least > REPEAT_MAX || (*most > REPEAT_MAX && *most != UINT32_MAX))
        wrong(p, "{} must hold one or two numbers up to 255 in the regular expression");
}

// The steps from `from` on become a piece that is repeated without end, at least once or not at all.
static void repeat(struct program *p, unsigned from, bool once)
{
    unsigned n = p->n - from;
    if (!once) {
        insert(p, from)->to = 1;
        add(p, OP_JUMP)->to = (int16_t)(-(int)n - 1);
        p->step[from].other = (int16_t)(n + 2);
    } else {
        struct step *s = add(p, OP_SPLIT);
        s->to = (int16_t)(0 - (int)n);
        s->other = 1;
    }
}

static void maybe(struct program *p, unsigned from)
{
    unsigned n = p->n - from;
    struct step *s = insert(p, from);
    s->to = 1;
    s->other = (int16_t)(n + 1);
}

static void counted(struct program *p, size_t atom_at, unsigned from)
{
    unsigned least, most;
    take_counts(p, &least, &most);
    size_t behind = p->at;
    p->n = from;
    for (unsigned i = 0; i < least || (i < most && most != UINT32_MAX) || (most == UINT32_MAX && i == least); i++) {
        if (p->why)
            return;
        unsigned one = p->n;
        p->at = atom_at;
        atom(p);
        if (i >= least && most == UINT32_MAX)
            repeat(p, one, false);
        else if (i >= least)
            maybe(p, one);
    }
    if (!p->why)
        p->at = behind;
}

static void pieces(struct program *p)
{
    while (more(p) && peek(p) != '|' && peek(p) != ')') {
        size_t atom_at = p->at;
        unsigned from = p->n;
        atom(p);
        while (more(p) && strchr("*+?{", peek(p)) && peek(p)) {
            char c = peek(p);
            p->at++;
            if (c == '*' || c == '+')
                repeat(p, from, c == '+');
            else if (c == '?')
                maybe(p, from);
            else
                counted(p, atom_at, from);
            take(p, '?'); // the shorter or the longer: the question is only whether
        }
    }
}

static void alternatives(struct program *p)
{
    unsigned from = p->n;
    if (++p->nested > NEST_MAX) {
        wrong(p, "the regular expression is nested too deeply");
        return;
    }
    pieces(p);
    while (take(p, '|')) {
        unsigned n = p->n - from;
        struct step *s = insert(p, from);
        s->to = 1;
        s->other = (int16_t)(n + 2);
        unsigned jump = p->n;
        add(p, OP_JUMP);
        pieces(p);
        p->step[jump].to = (int16_t)(p->n - jump);
    }
    p->nested--;
}

static void compile(struct program *p, struct slice pattern)
{
    p->in = pattern;
    p->at = 0;
    p->n = p->nested = 0;
    p->why = NULL;
    p->fold = slice_starts(pattern, SLICE("(?i)"));
    p->at = p->fold ? 4 : 0;
    alternatives(p);
    if (more(p))
        wrong(p, "a ')' too many in the regular expression");
    add(p, OP_DONE);
}

const char *pattern_check(struct slice pattern)
{
    struct program p;
    compile(&p, pattern);
    return p.why;
}

// ---- matching -------------------------------------------------------------------------------------------------------
struct places {
    uint64_t bit[PATTERN_MAX / 64 + 1];
};

static bool has(const struct places *l, unsigned i)
{
    return l->bit[i / 64] >> (i % 64) & 1;
}

// The place and all that are reached from it without a character.
static void reach(const struct program *p, struct places *l, unsigned i, bool start, bool end)
{
    uint16_t todo[2 * PATTERN_MAX + 2];
    unsigned n = 0;
    todo[n++] = (uint16_t)i;
    while (n) {
        i = todo[--n];
        if (has(l, i))
            continue;
        l->bit[i / 64] |= (uint64_t)1 << (i % 64);
        const struct step *s = &p->step[i];
        bool on = s->op == OP_JUMP || s->op == OP_SPLIT;
        if (on && !has(l, i + (unsigned)s->to))
            todo[n++] = (uint16_t)(i + (unsigned)s->to);
        if (s->op == OP_SPLIT && !has(l, i + (unsigned)s->other))
            todo[n++] = (uint16_t)(i + (unsigned)s->other);
        if (((s->op == OP_START && start) || (s->op == OP_END && end)) && !has(l, i + 1))
            todo[n++] = (uint16_t)(i + 1);
    }
}

static bool accepts(const struct program *p, const struct step *s, uint32_t c)
{
    bool in;
    switch (s->op) {
    case OP_GROUP:
        return group(s->at, c, &in) && in;
    case OP_CHAR:
        return s->at == small(p, c);
    case OP_ANY:
        return c != '\n';
    case OP_CLASS:
        return class_has(p, s, c);
    default:
        return false;
    }
}

bool pattern_match(struct slice pattern, struct slice text)
{
    struct program p;
    struct places now = {{0}};
    compile(&p, pattern);
    if (p.why)
        return false;
    reach(&p, &now, 0, true, text.n == 0);
    for (size_t at = 0; at < text.n;) {
        struct places next = {{0}};
        int n;
        uint32_t c = utf8_decode(slice_from(text, at), &n);
        at += (size_t)n;
        for (unsigned i = 0; i < p.n; i++)
            if (has(&now, i) && accepts(&p, &p.step[i], c))
                reach(&p, &next, i + 1, false, at == text.n);
        reach(&p, &next, 0, false, at == text.n); // it may begin anywhere
        now = next;
    }
    return has(&now, p.n - 1);
}
