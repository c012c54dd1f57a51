// OpenSSL's functions, found at run time. One row each; called as ssl.SSL_new(…).
#pragma once
#include "base/error.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define TLS_FUNCTIONS(X)                  \
    X(OPENSSL_init_ssl)                   \
    X(TLS_client_method)                  \
    X(TLS_server_method)                  \
    X(SSL_CTX_new)                        \
    X(SSL_CTX_free)                       \
    X(SSL_CTX_ctrl)                       \
    X(SSL_CTX_set_options)                \
    X(SSL_CTX_set_verify)                 \
    X(SSL_CTX_load_verify_locations)      \
    X(SSL_CTX_set_default_verify_paths)   \
    X(SSL_CTX_use_certificate_chain_file) \
    X(SSL_CTX_use_PrivateKey_file)        \
    X(SSL_CTX_check_private_key)          \
    X(SSL_CTX_set_default_passwd_cb)      \
    X(SSL_CTX_set_alpn_select_cb)         \
    X(SSL_CTX_set_client_CA_list)         \
    X(SSL_CTX_set_session_id_context)     \
    X(SSL_load_client_CA_file)            \
    X(SSL_select_next_proto)              \
    X(SSL_new)                            \
    X(SSL_free)                           \
    X(SSL_ctrl)                           \
    X(SSL_set_bio)                        \
    X(SSL_set_connect_state)              \
    X(SSL_set_accept_state)               \
    X(SSL_set_alpn_protos)                \
    X(SSL_set1_host)                      \
    X(SSL_get0_param)                     \
    X(SSL_get0_alpn_selected)             \
    X(SSL_get_verify_result)              \
    X(SSL_do_handshake)                   \
    X(SSL_read)                           \
    X(SSL_write)                          \
    X(SSL_shutdown)                       \
    X(SSL_get_error)                      \
    X(X509_VERIFY_PARAM_set1_ip_asc)      \
    X(X509_verify_cert_error_string)      \
    X(BIO_new)                            \
    X(BIO_free)                           \
    X(BIO_s_mem)                          \
    X(BIO_read)                           \
    X(BIO_write)                          \
    X(BIO_ctrl)                           \
    X(ERR_peek_error)                     \
    X(ERR_clear_error)                    \
    X(ERR_reason_error_string)

struct tls_library {
#define X(name) __typeof__(name) *name;
    TLS_FUNCTIONS(X)
#undef X
};
extern struct tls_library ssl;

// Loads it, once. ERR_UNSUPPORTED: not there, or the process is ending.
enum errc tls_library(struct error *err);
// Around every call of it that may run while the process ends. False: it may be gone, do not call.
bool tls_enter(void);
void tls_leave(void);
