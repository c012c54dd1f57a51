// Contexts: what certificates are shown and believed; a server's are read again when the files change.
#include "base/clock.h"
#include "net/tls_int.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>

#define RELOAD_NS 1000000000ll // files are looked at no more often

static const unsigned char alpn[] = "\2h2\10http/1.1";

static int no_password(char *to, int n, int writing, void *arg)
{
    return -1; // never asks on a terminal
}

static enum errc context_new(struct tls_context **out, bool server, struct error *err)
{
    TRY(tls_library(err));
    struct tls_context *c = mem_zalloc(sizeof *c);
    if (c)
        c->ssl = ssl.SSL_CTX_new(server ? ssl.TLS_server_method() : ssl.TLS_client_method());
    if (!c || !c->ssl) {
        mem_free(c);
        return ERR(err, NOMEM, "no memory for TLS");
    }
    c->refs = 1;
    ssl.SSL_CTX_ctrl(c->ssl, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, NULL);
    ssl.SSL_CTX_ctrl(c->ssl, SSL_CTRL_MODE, SSL_MODE_RELEASE_BUFFERS, NULL);
    ssl.SSL_CTX_set_options(c->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    ssl.SSL_CTX_set_default_passwd_cb(c->ssl, no_password);
    *out = c;
    return ERR_OK;
}

void tls_context_free(struct tls_context *c)
{
    if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    if (tls_enter()) {
        ssl.SSL_CTX_free(c->ssl);
        tls_leave();
    }
    mem_free(c->server_name);
    mem_free(c);
}

static bool given(const char *s)
{
    return s && *s;
}

// what: "the certificate", to put before the file's name.
static enum errc bad_file(const char *what, const char *file, struct error *err)
{
    struct stat st;
    if (stat(file, &st) != 0)
        return ERR(err, INPUT, "%s %s cannot be read: %s", what, file, strerror(errno));
    const char *why = ssl.ERR_reason_error_string(ssl.ERR_peek_error());
    return ERR(err, INPUT, "%s %s cannot be used: %s; a PEM file is wanted", what, file, why ? why : "unknown reason");
}

static enum errc own_certificate(struct tls_context *c, const char *cert, const char *key, struct error *err)
{
    if (!given(cert) && !given(key))
        return ERR_OK;
    if (!given(cert) || !given(key))
        return ERR(err, INPUT, "a certificate and its key belong together: give both files or neither");
    ssl.ERR_clear_error();
    if (ssl.SSL_CTX_use_certificate_chain_file(c->ssl, cert) != 1)
        return bad_file("the certificate", cert, err);
    bool fits = ssl.SSL_CTX_use_PrivateKey_file(c->ssl, key, SSL_FILETYPE_PEM) == 1;
    unsigned long e = ssl.ERR_peek_error();
    if (!fits && !(ERR_GET_LIB(e) == ERR_LIB_X509 && ERR_GET_REASON(e) == X509_R_KEY_VALUES_MISMATCH))
        return bad_file("the key", key, err);
    if (!fits || ssl.SSL_CTX_check_private_key(c->ssl) != 1)
        return ERR(err, INPUT, "the key %s does not belong to the certificate %s", key, cert);
    return ERR_OK;
}

enum errc tls_client_context(struct tls_context **out, const struct tls_options *o, struct error *err)
{
    static const struct tls_options none;
    struct tls_context *c = NULL;
    enum errc rc;
    o = o ? o : &none;
    TRY(tls_library(err));
    if (!tls_enter())
        return ERR(err, CLOSED, "the process is ending");
    GO(context_new(&c, false, err));
    ssl.SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER, NULL);
    ssl.ERR_clear_error();
    if (given(o->ca_file) && ssl.SSL_CTX_load_verify_locations(c->ssl, o->ca_file, NULL) != 1) {
        rc = bad_file("the file of authorities", o->ca_file, err);
        goto out;
    }
    if (!given(o->ca_file))
        ssl.SSL_CTX_set_default_verify_paths(c->ssl);
    GO(own_certificate(c, o->cert_file, o->key_file, err));
    if (given(o->server_name)) {
        size_t n = strlen(o->server_name) + 1;
        c->server_name = mem_alloc(n);
        if (c->server_name)
            memcpy(c->server_name, o->server_name, n);
        rc = c->server_name ? ERR_OK : ERR(err, NOMEM, "no memory for TLS");
    }
out:
    tls_leave();
    if (rc == ERR_OK)
        *out = c;
    else
        tls_context_free(c);
    return rc;
}

// ---- servers --------------------------------------------------------------------------------------------------------
enum { TLS_FILES = 3 };

struct stamp {
    int64_t time_ns;
    off_t size;
    ino_t inode;
};

struct tls_server {
    char *file[TLS_FILES]; // certificate, key, authorities of clients ("" = any client)
    void (*told)(const char *text);
    pthread_mutex_t lock; // guards the rest
    struct tls_context *now;
    struct stamp stamp[TLS_FILES];
    int64_t looked_at;
};

// HTTP/2 where the client knows it. A client without ALPN is told by its first bytes, as without TLS.
static int choose(SSL *s, const unsigned char **out, unsigned char *n, const unsigned char *in, unsigned n_in, void *arg)
{
    return ssl.SSL_select_next_proto((unsigned char **)(uintptr_t)out, n, alpn, sizeof alpn - 1, in, n_in) ==
                   OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_NOACK;
}

static enum errc server_context(struct tls_context **out, char *const *file, struct error *err)
{
    struct tls_context *c = NULL;
    enum errc rc;
    GO(context_new(&c, true, err));
    GO(own_certificate(c, file[0], file[1], err));
    ssl.SSL_CTX_set_alpn_select_cb(c->ssl, choose, NULL);
    ssl.SSL_CTX_set_session_id_context(c->ssl, (const unsigned char *)"sonde", 5);
    if (*file[2]) {
        ssl.ERR_clear_error();
        STACK_OF(X509_NAME) *names = ssl.SSL_load_client_CA_file(file[2]);
        if (!names || ssl.SSL_CTX_load_verify_locations(c->ssl, file[2], NULL) != 1) {
            rc = bad_file("the file of authorities", file[2], err);
            goto out;
        }
        ssl.SSL_CTX_set_client_CA_list(c->ssl, names); // takes them
        ssl.SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    *out = c;
    return ERR_OK;
out:
    tls_context_free(c);
    return rc;
}

static bool look(const struct tls_server *s, struct stamp *out)
{
    struct stat st;
    memset(out, 0, TLS_FILES * sizeof *out);
    for (int i = 0; i < TLS_FILES; i++) {
        if (!*s->file[i])
            continue;
        if (stat(s->file[i], &st) != 0)
            return false; // being replaced
        out[i].time_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
        out[i].size = st.st_size;
        out[i].inode = st.st_ino;
    }
    return true;
}

// A certificate and its key are two files: a pair that does not fit (yet) is tried again when one of them changes.
static void reload(struct tls_server *s)
{
    struct stamp stamp[TLS_FILES];
    struct tls_context *c = NULL;
    struct error err = {0};
    char text[ERROR_MESSAGE_MAX + 100];
    int64_t now = clock_mono_ns();
    if (now - s->looked_at < RELOAD_NS)
        return;
    s->looked_at = now;
    if (!look(s, stamp) || memcmp(stamp, s->stamp, sizeof stamp) == 0)
        return;
    memcpy(s->stamp, stamp, sizeof stamp);
    if (server_context(&c, s->file, &err) == ERR_OK) {
        tls_context_free(s->now);
        s->now = c;
        snprintf(text, sizeof text, "the certificate %s was read again", s->file[0]);
    } else {
        snprintf(text, sizeof text, "the certificates were not read again, the ones before stay: %s", err.msg);
    }
    if (s->told)
        s->told(text);
}

struct tls_context *tls_server_context(struct tls_server *s)
{
    pthread_mutex_lock(&s->lock);
    reload(s);
    struct tls_context *c = s->now;
    atomic_fetch_add(&c->refs, 1);
    pthread_mutex_unlock(&s->lock);
    return c;
}

void tls_server_free(struct tls_server *s)
{
    if (!s)
        return;
    tls_context_free(s->now);
    for (int i = 0; i < TLS_FILES; i++)
        mem_free(s->file[i]);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

enum errc tls_server_new(struct tls_server **out, const char *cert, const char *key, const char *client_ca,
                         void (*told)(const char *text), struct error *err)
{
    const char *file[TLS_FILES] = {cert, key, client_ca ? client_ca : ""};
    struct tls_server *s = mem_zalloc(sizeof *s);
    enum errc rc;
    if (!s)
        return ERR(err, NOMEM, "no memory for TLS");
    pthread_mutex_init(&s->lock, NULL);
    s->told = told;
    for (int i = 0; i < TLS_FILES; i++) {
        size_t n = strlen(file[i]) + 1;
        s->file[i] = mem_alloc(n);
        if (!s->file[i]) {
            rc = ERR(err, NOMEM, "no memory for TLS");
            goto out;
        }
        memcpy(s->file[i], file[i], n);
    }
    look(s, s->stamp);
    s->looked_at = clock_mono_ns();
    GO(server_context(&s->now, s->file, err));
    *out = s;
    return ERR_OK;
out:
    tls_server_free(s);
    return rc;
}
