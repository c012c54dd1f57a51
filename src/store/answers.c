#include "store/answers.h"
#include "base/alloc.h"

static uint32_t answer_slot(const struct answers *m, struct id128 key)
{
    uint32_t i = (uint32_t)key.lo & (m->cap - 1);
    while (m->answer[i] && !id128_eq(m->key[i], key))
        i = (i + 1) & (m->cap - 1);
    return i;
}

static bool answers_grow(struct answers *m)
{
    struct answers bigger = {.n = m->n, .cap = m->cap ? m->cap * 2 : 64};
    bigger.key = mem_alloc(bigger.cap * sizeof *bigger.key);
    bigger.answer = mem_zalloc(bigger.cap);
    if (!bigger.key || !bigger.answer) {
        mem_free(bigger.key);
        mem_free(bigger.answer);
        return false;
    }
    for (uint32_t i = 0; i < m->cap; i++) {
        if (!m->answer[i])
            continue;
        uint32_t to = answer_slot(&bigger, m->key[i]);
        bigger.key[to] = m->key[i];
        bigger.answer[to] = m->answer[i];
    }
    mem_free(m->key);
    mem_free(m->answer);
    *m = bigger;
    return true;
}

uint8_t *answer_of(struct answers *m, struct id128 key)
{
    if (m->n * 2 >= m->cap && !answers_grow(m))
        return NULL;
    uint32_t i = answer_slot(m, key);
    if (!m->answer[i]) {
        m->key[i] = key;
        m->n++;
    }
    return &m->answer[i];
}

void answers_free(struct answers *m)
{
    mem_free(m->key);
    mem_free(m->answer);
}
