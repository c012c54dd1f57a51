/* The protocol of the ring (src/sdk/ring.h): owners fill chunks, the backend reads and recycles them, an inspector looks at
 * the file of a living process, and an offline reader at that of a killed one. Checked by spin: run.sh.
 *
 * Steps and their order are those of ring.[ch] and inspect.c: chunk_take, chunk_open, ring_begin, ring_commit, ring_read_refresh,
 * ring_read_peek, chunk_retire, copy_chunk. A record is two words (head, body) with its number, so that a torn one shows. Records of one size;
 * values are small; the dictionary, clocks and the text of records do not matter here.
 *
 * Memory. Without WEAK a store is seen by all at once (also what a killed process leaves: stores that it made are made).
 * With WEAK each owner has a buffer of stores that become visible in any order that C11 allows: stores to one word in order;
 * a release store after all before it, but not before those after it; a fence (value FENCE) parts what is before and behind.
 * Loads of readers are acquire loads or copies by the kernel and stay in order.
 *
 * Checked, as assertions:
 *   - no reader ever gets a torn record, or one that is not there
 *   - the backend gets each record of a thread once and in order; at the end all that were pushed; the others were counted
 *   - offline: behind commit there is at most one begun record for each thread; and every record that the backend has not
 *     read yet is in the file
 *
 * BREAK_… each change one order; run.sh checks that spin finds every one of them. */
#ifndef THREADS
#define THREADS 2
#endif
#ifndef CHUNKS
#define CHUNKS 3
#endif
#ifndef N
#define N 4 /* records that each thread sends */
#endif
#ifndef R
#define R 2 /* records in a chunk */
#endif

/* words of a chunk */
#define SEQ(c) ((c) * 8)
#define COMMIT(c) ((c) * 8 + 1)
#define NEXT(c) ((c) * 8 + 2)
#define THREAD(c) ((c) * 8 + 3)
#define HEAD(c, i) ((c) * 8 + 4 + 2 * (i))
#define BODY(c, i) ((c) * 8 + 5 + 2 * (i))
#define RECORD(t, n) ((t) * 32 + (n)) /* n from 1 */
#define OF(record) ((record) / 32)
#define NUMBER(record) ((record) % 32)

byte mem[CHUNKS * 8];
byte first[THREADS]; /* chunk + 1; 0: none. Stored once, with release order */

/* the pool, under a mutex: atomic steps */
byte fresh, seq, retired[CHUNKS], retired_n;

/* what the checks know */
byte pushed[THREADS], lost[THREADS], got[THREADS];
byte done;

#define PLAIN 0
#define RELEASE 1
#define FENCE 2

#ifdef WEAK
#define ROOM 5
typedef buffer {
    byte n, addr[ROOM], val[ROOM], kind[ROOM];
}
buffer out[THREADS];
#define STORE(t, a, v, k)                                                          \
    atomic {                                                                       \
        out[t].n < ROOM -> out[t].addr[out[t].n] = a; out[t].val[out[t].n] = v;    \
        out[t].kind[out[t].n] = k; out[t].n++                                      \
    }
/* Entry k may become visible now. */
#define CAN(t, k)                                                                                                              \
    (k < out[t].n && (k == 0 || (out[t].kind[k] == PLAIN && out[t].kind[0] != FENCE &&                                           \
                                 (k < 2 || out[t].kind[1] != FENCE) && (k < 3 || out[t].kind[2] != FENCE) &&                     \
                                 (k < 4 || out[t].kind[3] != FENCE) && out[t].addr[0] != out[t].addr[k] &&                       \
                                 (k < 2 || out[t].addr[1] != out[t].addr[k]) && (k < 3 || out[t].addr[2] != out[t].addr[k]) &&   \
                                 (k < 4 || out[t].addr[3] != out[t].addr[k]))))
inline leave(t, k)
{
    d_step {
        if
        :: out[t].kind[k] != FENCE -> mem[out[t].addr[k]] = out[t].val[k]
        :: else
        fi;
        i = k;
        do
        :: i + 1 < out[t].n ->
            out[t].addr[i] = out[t].addr[i + 1];
            out[t].val[i] = out[t].val[i + 1];
            out[t].kind[i] = out[t].kind[i + 1];
            i++
        :: else -> break
        od;
        out[t].n--;
        out[t].addr[out[t].n] = 0;
        out[t].val[out[t].n] = 0;
        out[t].kind[out[t].n] = 0;
        i = 0
    }
}
proctype drain(byte t)
{
    byte i;
end:
    do
    :: atomic { CAN(t, 0) -> leave(t, 0) }
    :: atomic { CAN(t, 1) -> leave(t, 1) }
    :: atomic { CAN(t, 2) -> leave(t, 2) }
    :: atomic { CAN(t, 3) -> leave(t, 3) }
    :: atomic { CAN(t, 4) -> leave(t, 4) }
    od
}
#define ALL_OUT(t) (out[t].n == 0)
#else
#define STORE(t, a, v, k)        \
    if                           \
    :: k != FENCE -> mem[a] = v  \
    :: else                      \
    fi
#define ALL_OUT(t) true
#endif

#ifdef BREAK_COMMIT_RELAXED
#define COMMIT_ORDER PLAIN
#else
#define COMMIT_ORDER RELEASE
#endif

/* ---- owners ---------------------------------------------------------------------------------------------------------- */
inline chunk_take()
{
    atomic {
        taken = 0;
        ALL_OUT(t) -> /* the mutex was let go by an owner before: its stores are visible */
        if
        :: fresh < CHUNKS -> fresh++; taken = fresh
        :: fresh == CHUNKS && retired_n > 0 ->
            taken = retired[0] + 1;
            d_step {
                i = 0;
                do
                :: i + 1 < retired_n -> retired[i] = retired[i + 1]; i++
                :: else -> break
                od;
                retired_n--;
                retired[retired_n] = 0;
                i = 0
            }
        :: else
        fi;
        if
        :: taken -> seq++; mine = seq
        :: else
        fi
    }
}

inline link()
{
    if
    :: chunk -> STORE(t, NEXT(chunk - 1), taken, RELEASE)
    :: else ->
        ALL_OUT(t); /* `first` is a release store */
        first[t] = taken
    fi
}

inline chunk_open()
{
#ifdef BREAK_LINK_EARLY
    link();
#endif
    STORE(t, SEQ(taken - 1), 0, RELEASE);
#ifndef BREAK_NO_FENCE
    STORE(t, 0, 0, FENCE);
#endif
    STORE(t, COMMIT(taken - 1), 0, PLAIN);
    STORE(t, NEXT(taken - 1), 0, PLAIN);
    STORE(t, THREAD(taken - 1), t, PLAIN);
    STORE(t, SEQ(taken - 1), mine, RELEASE);
#ifndef BREAK_LINK_EARLY
    link();
#endif
    chunk = taken;
    at = 0
}

proctype owner(byte t)
{
    byte n, chunk, taken, at, i, mine;
    n = 1;
    do
    :: n > N -> break
    :: else ->
        if
        :: chunk == 0 || at == R ->
            chunk_take();
            if
            :: taken -> chunk_open()
            :: else -> lost[t]++; n++; goto sent /* dropped and counted */
            fi
        :: else
        fi;
        STORE(t, HEAD(chunk - 1, at), RECORD(t, pushed[t] + 1), PLAIN);
#ifdef BREAK_COMMIT_EARLY
        STORE(t, COMMIT(chunk - 1), at + 1, RELEASE);
#endif
        STORE(t, BODY(chunk - 1, at), RECORD(t, pushed[t] + 1), PLAIN);
        atomic {
            pushed[t]++;
#ifndef BREAK_COMMIT_EARLY
            STORE(t, COMMIT(chunk - 1), at + 1, COMMIT_ORDER);
#endif
            at++;
            n++
        }
sent:   skip
    od;
    atomic { ALL_OUT(t) -> done++ }
}

/* ---- the backend: all threads in turn ------------------------------------------------------------------------------------ */
byte chunk_of[THREADS], at_of[THREADS]; /* chunk + 1 and the records read of it */

inline record()
{
    head = mem[HEAD(chunk_of[t] - 1, at_of[t])];
    atomic {
        assert(head == mem[BODY(chunk_of[t] - 1, at_of[t])]); /* whole */
        assert(OF(head) == t);                                /* this thread's */
        assert(NUMBER(head) == got[t] + 1);                   /* in order, none twice, none left out */
        got[t]++;
        head = 0
    }
    atomic { at_of[t]++; more = 1 }
}

inline retire()
{
    atomic { retired[retired_n] = chunk_of[t] - 1; retired_n++ }
}

inline read_thread()
{
    if
    :: chunk_of[t] == 0 && first[t] != 0 -> chunk_of[t] = first[t]; at_of[t] = 0
    :: else
    fi;
    do
    :: chunk_of[t] == 0 -> break
    :: else ->
#ifdef BREAK_READ_COMMIT_FIRST
        commit = mem[COMMIT(chunk_of[t] - 1)];
        next = mem[NEXT(chunk_of[t] - 1)];
#else
        next = mem[NEXT(chunk_of[t] - 1)];
        commit = mem[COMMIT(chunk_of[t] - 1)];
#endif
        if
        :: at_of[t] < commit ->
#ifdef BREAK_RETIRE_EARLY
            if
            :: next != 0 && at_of[t] + 1 == commit -> retire()
            :: else
            fi;
#endif
            record()
        :: at_of[t] >= commit && next == 0 -> break
        :: at_of[t] >= commit && next != 0 ->
#ifndef BREAK_RETIRE_EARLY
            retire();
#endif
            atomic { chunk_of[t] = next; at_of[t] = 0 }
        fi
    od;
    atomic { next = 0; commit = 0 }
}

proctype backend()
{
    byte t, next, commit, head;
    bit more, last;
    do
    :: atomic { last = (done == THREADS); more = 0; t = 0 };
        do
        :: t < THREADS -> read_thread(); t++
        :: else -> break
        od;
        if
        :: last && !more -> break
        :: else
        fi
    od;
    atomic {
        t = 0;
        do
        :: t < THREADS ->
            assert(got[t] == pushed[t]);
            assert(pushed[t] + lost[t] == N);
            t++
        :: else -> break
        od;
        t = 0
    }
}

/* ---- the inspector of a living process: copy_chunk ------------------------------------------------------------------------ */
#ifdef LIVE
proctype inspector()
{
    byte c, before, commit, thread, head, body, i;
    byte heads[R], bodies[R];
    c = 0;
    do
    :: c < CHUNKS -> /* any chunk, any number of them */
        if
        :: skip
        :: c + 1 < CHUNKS -> c++
        fi;
#ifdef BREAK_SEQ_AFTER_COMMIT
        commit = mem[COMMIT(c)]; /* one copy of the head of the chunk reads its words in any order */
        before = mem[SEQ(c)];
#else
        before = mem[SEQ(c)];
        commit = mem[COMMIT(c)];
#endif
        thread = mem[THREAD(c)];
        i = 0;
        do
        :: i < R ->
            heads[i] = mem[HEAD(c, i)];
            bodies[i] = mem[BODY(c, i)];
            i++
        :: else -> break
        od;
        atomic {
            i = 0;
            if
            :: before != 0 && before == mem[SEQ(c)] ->
                do
                :: i < commit && i < R ->
                    assert(heads[i] == bodies[i]);
                    assert(heads[i] != 0 && OF(heads[i]) == thread);
                    assert(i == 0 || NUMBER(heads[i]) == NUMBER(heads[i - 1]) + 1);
                    i++
                :: else -> break
                od
            :: else
            fi;
            i = 0;
            do
            :: i < R -> heads[i] = 0; bodies[i] = 0; i++
            :: else -> break
            od;
            before = 0; commit = 0; thread = 0; i = 0
        };
        break
    od
}
#endif

/* ---- the file of a killed process: one look at any moment ------------------------------------------------------------------ */
#ifdef OFFLINE
inline count_chunk()
{
    i = 0;
    do
    :: i < R ->
        head = mem[HEAD(c, i)];
        if
        :: mem[SEQ(c)] == 0 -> break
        :: mem[SEQ(c)] != 0 && i < mem[COMMIT(c)] ->
            assert(head == mem[BODY(c, i)] && head != 0 && OF(head) == mem[THREAD(c)]);
            assert(NUMBER(head) <= pushed[OF(head)] + 1);
            if
            :: NUMBER(head) > got[OF(head)] -> unread[OF(head)]++
            :: else
            fi
        /* begun: a number that the thread did not finish */
        :: mem[SEQ(c)] != 0 && i >= mem[COMMIT(c)] && head != 0 && OF(head) == mem[THREAD(c)] &&
           NUMBER(head) > pushed[OF(head)] -> begun[OF(head)]++
        :: else
        fi;
        i++
    :: else -> break
    od
}

proctype offline()
{
    byte c, i, head;
    byte unread[THREADS], begun[THREADS];
    d_step {
        c = 0;
        do
        :: c < CHUNKS -> count_chunk(); c++
        :: else -> break
        od;
        c = 0;
        do
        :: c < THREADS ->
            assert(begun[c] <= 1);
            assert(unread[c] >= pushed[c] - got[c]);
            unread[c] = 0; begun[c] = 0;
            c++
        :: else -> break
        od;
        c = 0; i = 0; head = 0
    }
}
#endif

init
{
    byte t;
    atomic {
        do
        :: t < THREADS ->
            run owner(t);
#ifdef WEAK
            run drain(t);
#endif
            t++
        :: else -> break
        od;
        t = 0;
        run backend();
#ifdef LIVE
        run inspector();
#endif
#ifdef OFFLINE
        run offline();
#endif
    }
}
