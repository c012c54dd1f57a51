// One epoll loop per thread. Everything on a loop runs in its thread; loop_post is the only door from outside.
#pragma once
#include "base/error.h"
#include <stdint.h>

struct loop;
struct loop_io; // a watched file descriptor
struct loop_timer;

enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_HUP = 4 };

enum errc loop_new(struct loop **out, struct error *err);
void loop_free(struct loop *l);     // null is fine; not while running
void loop_forget(struct loop *l);   // in a forked child: closes its copies of the descriptors; the memory is not given back
enum errc loop_run(struct loop *l); // until loop_stop
void loop_stop(struct loop *l);     // thread- and signal-safe
// One turn: waits at most timeout_ns (−1 forever, 0 poll). For callers that own the thread.
enum errc loop_turn(struct loop *l, int64_t timeout_ns);
int64_t loop_now(struct loop *l); // monotonic ns of this turn

// Thread-safe: fn runs on the loop's thread soon. ERR_NOMEM is possible.
enum errc loop_post(struct loop *l, void (*fn)(void *arg), void *arg);

typedef void loop_io_fn(struct loop_io *io, unsigned events, void *arg);
enum errc loop_io_add(struct loop *l, int fd, unsigned events, loop_io_fn *fn, void *arg, struct loop_io **out,
                      struct error *err);
enum errc loop_io_set(struct loop_io *io, unsigned events);
void loop_io_remove(struct loop_io *io); // does not close the descriptor; safe inside callbacks; null is fine

typedef void loop_timer_fn(struct loop_timer *t, void *arg);
// Fires once after delay_ns; the callback may loop_timer_set it again.
struct loop_timer *loop_timer_new(struct loop *l, loop_timer_fn *fn, void *arg);
void loop_timer_set(struct loop_timer *t, int64_t delay_ns);
void loop_timer_stop(struct loop_timer *t);
void loop_timer_free(struct loop_timer *t); // null is fine
