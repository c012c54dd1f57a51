// Folders of test results: what each test was, how it ended, and what its logs say. A tree of them becomes a table and a verdict.
//
//   DIR/                        any depth
//     test_x[param]/            one result: a folder that holds at least one of
//       .sonde-test             the mark of our pytest plug-in: how the test ended
//       test.log.txt            the test's own log: deployment, readiness, injected failure
//       client_0/attempt_0/profile_export_aiperf.json (or a .csv, genai_perf.log)   load by aiperf
//       client_0.log.txt        load by the older client, a JSON object a line
//       decode/pod-1.log, pod-1.previous.log    a component: its log, and that of the process before the last restart
//       *.xml                   JUnit
//       *.jsonl, *.log, *.txt   any other log
//   Each of them may be packed: test.log.txt.gz.
//
// All times are UTC, nanoseconds since 1970. A log that tells no zone is taken for UTC unless its test's components prove an
// offset; that is said in a note. What cannot be read is named in a note and never ends the work.
// Memory: everything belongs to the arena of struct results. Thread rule: one thread at a time; results_read() starts its own.
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

enum result_kind { RESULT_LOGS, RESULT_PYTEST, RESULT_LEGACY, RESULT_AIPERF, RESULT_JUNIT };
const char *result_kind_text(enum result_kind kind);

enum result_verdict { VERDICT_NONE, VERDICT_PASSED, VERDICT_FAILED, VERDICT_SKIPPED };
const char *result_verdict_text(enum result_verdict verdict); // "" for none

// NaN stands for "not known" in every double.
struct result_load { // what clients counted, all together
    uint32_t clients, cancelled;
    bool told; // a client left a count
    uint64_t total, ok, failed;
    double latency, p50, p90, p99; // s; mean weighted by requests, percentiles the worst client's
    double ttft, itl;              // s
    double throughput;             // requests/s, sum of the clients
};

struct result_phase { // requests before or after the fault, or of an overflow or recovery folder
    const char *name;
    uint64_t ok, failed, violations;
    double latency, deviation; // s, of the successful
};

struct result_component {
    struct slice name; // the folder, or the process
    double startup;    // s from the deployment's start until it was ready
    double recovery;   // s from the last line of the process before until the first of the one after
    uint32_t starts;   // times its process (of several pods: one pod's, the most) was seen to become ready or to start
    bool crash_loop;   // three starts or more
    int64_t first_ns, last_ns;
};

struct result_class {    // errors of one shape
    struct slice text;   // with numbers and ids masked
    struct slice sample; // one message as it was
    struct slice file;   // where that stands
    uint64_t line, count;
    bool warning;
};

struct result_fault {
    int64_t time_ns;
    struct slice pod, command;
};

struct result_request { // the slowest and the failed
    struct slice id, error;
    int64_t start_ns;
    double latency, ttft;
};

struct result_case { // of JUnit XML
    struct slice name, message;
    enum result_verdict verdict;
    double seconds;
};

struct result {
    struct slice path, name;
    struct slice label; // for people: the name, where it is not the only one the path below the tree
    enum result_kind kind;
    enum result_verdict verdict; // of the test itself, where it is told
    struct slice message;        // why it failed; ""
    double seconds;              // that it took
    struct slice failure;        // what was injected: "decode_worker"; "none"
    struct result_fault *fault;  // in order of time
    uint32_t n_faults;
    int64_t start_ns, ready_ns, fault_ns, end_ns; // 0: not known; fault_ns: the first
    bool test_zoneless;                           // the test's log tells no zone
    double startup, recovery;                     // s; the slowest component's
    struct result_load load;
    struct result_phase phase[4];
    uint32_t n_phases;
    struct result_component *component;
    uint32_t n_components;
    struct result_class *class; // most frequent first, errors before warnings
    uint32_t n_classes;
    uint64_t errors, warnings, lines, bytes;
    struct result_request *slow; // slowest first
    uint32_t n_slow;
    struct result_request *failed; // in order of time
    uint32_t n_failed;
    struct result_case *cases;
    uint32_t n_cases, cases_failed, cases_skipped;
    double *client_latency, *client_rate; // one a client, for comparisons
    uint32_t n_client;
    struct slice *note; // what was odd, a sentence each
    uint32_t n_notes;
    uint32_t unreadable; // files that could not be read, or were damaged; notes name them
};

enum { RESULTS_SLOWEST = 5, RESULTS_CLASSES = 20, RESULTS_NOTES = 64, RESULTS_COMPONENTS = 256, RESULTS_FAULTS = 16 };

struct results_options {
    enum { PARSER_ANY, PARSER_AIPERF, PARSER_LEGACY } parser;
    double sla;         // s of mean latency; 0: none
    double min_success; // percent; 0: none
    unsigned threads;   // of the log scan; 0: one a core, at most 8
};

struct results {
    struct arena arena;
    struct slice path;
    struct result *item; // by name
    uint32_t n;
};

// Reads n trees as one. ERR_NOTFOUND: no such folder; ERR_INPUT: there is nothing in one of them that is a result.
enum errc results_read(struct results *r, char *const *dirs, uint32_t n, const struct results_options *o, struct error *err);
void results_free(struct results *r);

// Percent of requests (or of test cases that were not skipped) that succeeded; NaN without any.
double result_success(const struct result *x);
// Misses of the targets, a sentence each to `out` (may be null). A test of which nothing was measured misses. Returns their
// number.
unsigned results_misses(const struct results *r, const struct results_options *o, struct buf *out);

// ---- what a person or a program gets ----
enum results_format { RESULTS_FANCY, RESULTS_MARKDOWN, RESULTS_JSON, RESULTS_CSV, RESULTS_HTML };
void results_print(const struct results *r, const struct results_options *o, enum results_format f, struct buf *out);

// ---- comparison ----
struct result_change {
    struct slice test;
    const char *metric, *unit;
    double before, after;
    uint32_t n_before, n_after; // repetitions behind each
    double p;                   // probability of a difference this large by chance; NaN: no repetitions to tell by
    bool worse, better;         // and significant at 5 %, or by more than a tenth where nothing can be told
};
// Tests of the same name in both, all their metrics, the worst first. *out in a's arena. Names that only one has: notes.
enum errc results_compare(struct results *a, struct results *b, struct result_change **out, uint32_t *n);
void results_print_changes(const struct results *a, const struct results *b, const struct result_change *c, uint32_t n,
                           enum results_format f, struct buf *out);
