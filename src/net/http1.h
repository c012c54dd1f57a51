// HTTP/1 syntax (RFC 9112), without sockets: where a head ends, what it says, and the chunked coding. Strict on
// purpose: whatever two parsers could read differently (obs-fold, bare LF, two lengths, a length and chunked, blanks
// before a colon, odd chunk sizes) is refused, so that no request can be smuggled past a proxy in front of us.
// Errors are an HTTP status and a sentence in static storage.
#pragma once
#include "base/limits.h"
#include "net/http.h"

enum h1_result { H1_MORE, H1_DATA, H1_DONE, H1_BAD };

// Looks for the end of a head while it arrives. p is the whole text so far: it may grow and move between calls, the
// bytes already seen must stay the same.
struct h1_scan {
    size_t at;       // seen
    size_t line;     // where the current line began
    bool first_done; // the first line is complete
    int status;      // when bad: 400, 414 or 431
    const char *why;
};
// H1_DONE: *head_n is the length of the head with its empty line. Empty lines before a request are part of it.
enum h1_result h1_scan(struct h1_scan *s, const char *p, size_t n, size_t *head_n);

struct h1_head {
    struct slice method, target; // of a request
    int status;                  // of a response
    int version;                 // 10 or 11
    struct http_header *headers; // caller's, MAX_HTTP_HEADERS of them
    size_t n_headers;
    struct slice authority; // Host, or the authority of an absolute-form target (then target is its path)
    int64_t content_length; // -1: not said
    bool chunked, keep_alive, expect_continue;
    const char *why;
};
// Parses a complete head, in place: names become lower case, slices point into text. `headers` must be set.
// Returns 0, or the status to refuse with (h->why says why).
int h1_parse_request(char *text, size_t n, struct h1_head *h);
// The same for a response: 0, or 502.
int h1_parse_response(char *text, size_t n, struct h1_head *h);

// The chunked coding, byte by byte if need be. Zeroed is ready.
struct h1_chunks {
    int state;
    int digits;
    size_t line; // length of the size line or of all trailers so far
    uint64_t left;
    const char *why;
};
// Consumes from *in. H1_DATA: *data holds body bytes, call again; H1_MORE: *in is used up; H1_DONE: the body ended,
// *in is what follows; H1_BAD: why says.
enum h1_result h1_chunks_next(struct h1_chunks *c, struct slice *in, struct slice *data);

const char *http_status_text(int status); // "Not Found"; "Status" for an unknown one
bool http_token_char(unsigned char c);    // RFC 9110 tchar
// A comma-separated list holds the token (any case); parameters after ';' are cut off.
bool http_list_has(struct slice list, struct slice token);
