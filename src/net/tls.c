// Connections. What can go wrong is told in words: a person has to act on it.
#include "net/tls_int.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

struct tls {
    struct tls_context *context;
    SSL *ssl;
    BIO *in, *out; // the SSL's
    bool server, begun, failed;
};

static struct tls *connection(struct tls_context *c, bool server)
{
    struct tls *t = mem_zalloc(sizeof *t);
    if (!t || !tls_enter()) {
        mem_free(t);
        return NULL;
    }
    t->server = server;
    t->ssl = ssl.SSL_new(c->ssl);
    BIO *in = ssl.BIO_new(ssl.BIO_s_mem()), *out = ssl.BIO_new(ssl.BIO_s_mem());
    if (t->ssl && in && out) {
        ssl.SSL_set_bio(t->ssl, in, out);
        t->in = in;
        t->out = out;
        t->context = c;
        tls_leave();
        return t;
    }
    ssl.BIO_free(in);
    ssl.BIO_free(out);
    ssl.SSL_free(t->ssl);
    tls_leave();
    mem_free(t);
    return NULL;
}

// Whom the certificate must be for. False without memory: then nobody may be believed.
static bool expect_name(struct tls *t, const char *name)
{
    struct in6_addr address;
    if (inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1)
        return ssl.X509_VERIFY_PARAM_set1_ip_asc(ssl.SSL_get0_param(t->ssl), name) == 1;
    ssl.SSL_ctrl(t->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, (void *)(uintptr_t)name);
    return ssl.SSL_set1_host(t->ssl, name) == 1;
}

struct tls *tls_client(struct tls_context *c, const char *host, bool h2)
{
    struct tls *t;
    atomic_fetch_add(&c->refs, 1);
    t = connection(c, false);
    if (!t)
        tls_context_free(c);
    if (!t || !tls_enter())
        return t;
    ssl.SSL_set_connect_state(t->ssl);
    bool named = expect_name(t, c->server_name ? c->server_name : host);
    ssl.SSL_set_alpn_protos(t->ssl, (const unsigned char *)(h2 ? "\2h2" : "\10http/1.1"), h2 ? 3 : 9);
    tls_leave();
    if (named)
        return t;
    tls_free(t);
    return NULL;
}

struct tls *tls_accept(struct tls_server *s)
{
    struct tls_context *c = tls_server_context(s);
    struct tls *t = connection(c, true);
    if (!t)
        tls_context_free(c);
    else if (tls_enter()) {
        ssl.SSL_set_accept_state(t->ssl);
        tls_leave();
    }
    return t;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    if (tls_enter()) {
        ssl.SSL_free(t->ssl);
        tls_leave();
    }
    tls_context_free(t->context);
    mem_free(t);
}

bool tls_feed(struct tls *t, const void *p, size_t n)
{
    if (!tls_enter())
        return false;
    // The first byte of TLS is that of a handshake (22) or of an alert (21).
    if (!t->begun && n && *(const uint8_t *)p != 22 && *(const uint8_t *)p != 21)
        t->failed = true;
    t->begun = true;
    bool ok = ssl.BIO_write(t->in, p, (int)n) == (int)n;
    tls_leave();
    return ok;
}

// ---- errors ---------------------------------------------------------------------------------------------------------
static enum errc bad_certificate(long verify, struct error *err)
{
    switch (verify) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return ERR(err, DENIED, "its certificate has expired");
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return ERR(err, DENIED, "its certificate is not valid yet; is the clock right?");
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return ERR(err, DENIED, "its certificate is for another name");
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        return ERR(err, DENIED, "its certificate is from an authority unknown here (%s); name the authority's file",
                   ssl.X509_verify_cert_error_string(verify));
    default:
        return ERR(err, DENIED, "its certificate is refused: %s", ssl.X509_verify_cert_error_string(verify));
    }
}

static enum errc refused_by_peer(int reason, const char *text, struct error *err)
{
    switch (reason) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return ERR(err, DENIED, "a certificate of the client is required");
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
        return ERR(err, DENIED, "the other side refused our certificate (%s)", text);
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_UNSUPPORTED_PROTOCOL:
        return ERR(err, NET, "the other side speaks no TLS 1.2 or newer");
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
        return ERR(err, NET, "the TLS handshake was refused (%s); a certificate of the client may be required", text);
    default:
        return ERR(err, NET, "TLS failed: %s", text);
    }
}

static enum tls_state failure(struct tls *t, struct error *err)
{
    unsigned long e = ssl.ERR_peek_error();
    const char *text = e ? ssl.ERR_reason_error_string(e) : NULL;
    long verify = ssl.SSL_get_verify_result(t->ssl);
    t->failed = true;
    if (verify != X509_V_OK && !t->server)
        bad_certificate(verify, err);
    else
        refused_by_peer(ERR_GET_REASON(e), text ? text : "the connection broke", err);
    ssl.ERR_clear_error();
    return TLS_FAILED;
}

static enum tls_state result(struct tls *t, int rc, struct error *err)
{
    if (rc > 0)
        return TLS_OK;
    switch (ssl.SSL_get_error(t->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return TLS_WAIT;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_END;
    default:
        return failure(t, err);
    }
}

static enum tls_state ending(struct error *err)
{
    ERR(err, CLOSED, "the process is ending");
    return TLS_FAILED;
}

// ---- moving bytes ---------------------------------------------------------------------------------------------------
enum tls_state tls_handshake(struct tls *t, struct error *err)
{
    if (t->failed) {
        ERR(err, NET, "no TLS is spoken there; is http:// meant?");
        return TLS_FAILED;
    }
    if (!tls_enter())
        return ending(err);
    ssl.ERR_clear_error();
    enum tls_state s = result(t, ssl.SSL_do_handshake(t->ssl), err);
    tls_leave();
    return s;
}

enum tls_state tls_pull(struct tls *t, void *to, size_t n, size_t *got, struct error *err)
{
    *got = 0;
    if (!tls_enter())
        return ending(err);
    ssl.ERR_clear_error();
    int rc = ssl.SSL_read(t->ssl, to, (int)n);
    enum tls_state s = result(t, rc, err);
    if (rc > 0)
        *got = (size_t)rc;
    tls_leave();
    return s;
}

bool tls_push(struct tls *t, const void *p, size_t n)
{
    if (!n)
        return true;
    if (!tls_enter())
        return false;
    ssl.ERR_clear_error();
    bool ok = ssl.SSL_write(t->ssl, p, (int)n) == (int)n; // memory takes all of it
    tls_leave();
    return ok;
}

ssize_t tls_push_all(struct tls *t, const struct iovec *v, size_t n_v, size_t most)
{
    size_t done = 0;
    for (size_t i = 0; i < n_v && done < most; i++) {
        size_t n = v[i].iov_len < most - done ? v[i].iov_len : most - done;
        if (!tls_push(t, v[i].iov_base, n)) {
            errno = EPIPE;
            return -1;
        }
        done += n;
    }
    return (ssize_t)done;
}

void tls_close(struct tls *t)
{
    if (t->failed || !tls_enter())
        return;
    ssl.ERR_clear_error();
    ssl.SSL_shutdown(t->ssl);
    tls_leave();
}

bool tls_output(struct tls *t, struct seg_queue *q)
{
    bool ok = true;
    if (!tls_enter())
        return false;
    for (;;) {
        char piece[SEG_ROOM];
        int n = ssl.BIO_read(t->out, piece, sizeof piece);
        if (n <= 0)
            break;
        ok = segs_put(q, piece, (size_t)n) && ok;
    }
    tls_leave();
    return ok;
}

bool tls_is_h2(const struct tls *t)
{
    const unsigned char *p = NULL;
    unsigned n = 0;
    if (!tls_enter())
        return false;
    ssl.SSL_get0_alpn_selected(t->ssl, &p, &n);
    tls_leave();
    return n == 2 && memcmp(p, "h2", 2) == 0;
}
