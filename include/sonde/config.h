// Configuration: a dump of everything that decided how this process runs, and the declarative configuration file of
// OpenTelemetry. Not included by sonde.h.
//
// The dump is one JSON object in compact form, keys sorted, for `sonde config diff` and for people:
//   system_info      platform, architecture, processor, hostname, os_name, os_release, os_version
//   environment      variables that begin with one of: DYN_ CUDA_ NCCL_ HF_ TRANSFORMERS_ SGLANG_ SGL_ MC_ VLLM_ TENSORRT_ TORCH_
//                    UCX_ NIXL_ OMPI_ LLM_ TLLM_ TRT_LLM_ TRTLLM_ NVIDIA_ NSYS_ GENERATE_CU_ OVERRIDE_ TOKENIZERS_ DISABLE_TORCH_
//                    PYTORCH_ ENABLE_PERFECT_ROUTER FLA_ NEMOTRON_ OTEL_ SONDE_
//   config           the caller's
//   settings         each setting of libsonde: {"from": "environment", "value": "debug"}; from: default, environment, FILE:LINE,
//                    or the call; "rejected" is what was given but not accepted
//   runtime_info     executable, pid, compiler, libc, sdk_version, command_line_args, and what the caller adds
//   dynamo_version, gpu_info (null without a GPU), installed_packages (the caller's), config_hash, and the caller's further keys
//
// Redaction: a value becomes "<REDACTED>" when its name holds TOKEN, API_KEY, SECRET, PASSWORD, PASSWD, PASSPHRASE, CREDENTIAL,
// AUTH, ACCESS_KEY, PRIVATE_KEY, COOKIE or HEADERS, whatever the case and with _, -, . or nothing between the words. Not taken
// for such: TOKENIZER… and DETOKENIZE…, AUTHOR, and counts (max_tokens = 4096, eos_token_id = 2). It holds for environment,
// settings, config at any depth, runtime_info, further keys and the command line (--api-key X, --api-key=X, KEY=VALUE, JSON as an
// argument). Of any text the password of a URL (scheme://user:password@host), what stands behind such a name (api_key=X,
// password: X, "token": "X", --api-key X), and what looks like a key by its form (hf_…, sk-…, ghp_…, nvapi-…, Bearer …, a JSON
// Web Token, a private key in PEM) goes too.
//
// config_hash: 16 hex digits over environment, config, settings, dynamo_version and packages as dumped; not over machine, process
// and time. Processes of one configuration have one hash. It is the resource attribute sonde.config.hash of what is exported.
//
// Thread rule: any thread, but not from a signal handler. A dump takes some ms, and up to 5 s for a GPU's driver that hangs.
#pragma once
#ifndef SONDE_API
#include <sonde/sonde.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct sonde_meter_provider;

struct sonde_dump_options {
    const char *path; // file to write, folders are made; null: one DEBUG record, if DEBUG is let out
    // The caller's configuration: a JSON object as text, or (also beside it) pairs asked for until it returns false.
    const char *config;
    bool (*config_pair)(void *arg, size_t i, const char **key, const char **value);
    void *arg;
    const char *version;         // dynamo_version; null: "0.0.0+unknown"
    const char *packages;        // JSON object name → version; null: {}
    const char *runtime;         // JSON object whose keys are added to runtime_info; may be null
    const char *extra;           // JSON object whose keys are added at the top; may be null
    const char *const *redact;   // more parts of names, null at the end; may be null
    const char *const *prefixes; // of variables, in place of those above, null at the end; may be null
    bool sensitive;              // nothing is redacted
    bool no_gpu;                 // gpu_info is null
};
// Never fails the caller. With a path: the file, and an INFO record that names it; when it cannot be written, an ERROR record and
// then an INFO record "CONFIG_DUMP: " with the dump. Without: a DEBUG record "CONFIG_DUMP: " with the dump. o may be null.
SONDE_API void sonde_config_dump(const struct sonde_dump_options *o);
// The dump as text, to be freed; null without memory.
SONDE_API char *sonde_config_dump_text(const struct sonde_dump_options *o);
// The hash of the last dump that a caller asked for, or of one without a config.
SONDE_API void sonde_config_hash(char out[17]);

// ---- declarative configuration --------------------------------------------------------------------------------------
// A YAML file after OpenTelemetry's schema (file_format 0.x and 1.x), read with libyaml, which is looked for at run time. With
// OTEL_CONFIG_FILE the library reads it while it starts: no other OTEL_ variable counts then, except in ${…}. A file that cannot
// be used is told on stderr, and the environment holds.
// Scalars may hold ${NAME}, ${env:NAME} and ${NAME:-default} (used when NAME is unset or empty); $$ is a $. What is put in
// becomes part of the one value and is not looked at again; without quotes around it, it may make a number or true of it.
enum sonde_node_type {
    SONDE_NODE_NULL,
    SONDE_NODE_BOOL, // text: "true" or "false"
    SONDE_NODE_INT,  // text as written
    SONDE_NODE_F64,
    SONDE_NODE_STR,
    SONDE_NODE_LIST,
    SONDE_NODE_MAP,
};
// The model: nothing of the file is left out, known or not. Valid as long as its sonde_config.
struct sonde_config_node {
    enum sonde_node_type type;
    int line;
    const char *key;  // in a map, else null
    const char *text; // of a scalar; null: ""
    const struct sonde_config_node *first, *next;
};
struct sonde_config;
// Null when it is none; error gets the reason with its line.
SONDE_API struct sonde_config *sonde_config_parse(const char *yaml, size_t n, char *error, size_t error_n);
SONDE_API struct sonde_config *sonde_config_parse_file(const char *path, char *error, size_t error_n);
SONDE_API void sonde_config_free(struct sonde_config *c);
SONDE_API const struct sonde_config_node *sonde_config_root(const struct sonde_config *c);
// By path: "tracer_provider.processors.0.batch"; null if absent.
SONDE_API const struct sonde_config_node *sonde_config_get(const struct sonde_config_node *from, const char *path);
// The model of OTEL_CONFIG_FILE or of the last sonde_config_create; null if none holds.
SONDE_API const struct sonde_config_node *sonde_config_current(void);

// What the model asks for, made: the process's tracer, meter and logger provider (off where the model has none) and propagators.
struct sonde_config_parts {
    bool disabled, tracer_provider, meter_provider, logger_provider;
    char propagators[256];              // "tracecontext,baggage"; "" if none
    struct sonde_meter_provider *meter; // sonde/meter.h: the default provider with the model's views; null without any
    unsigned components;                // made by registered providers
};
// Before sonde_init and the first record. False: error tells why (the library runs, no file_format …); nothing is changed then.
// What is not known and has no provider is left out and told on stderr. parts may be null. The model must live on.
SONDE_API bool sonde_config_create(const struct sonde_config *c, struct sonde_config_parts *parts, char *error, size_t error_n);

// Makers of components that the library does not know, by kind and name in the model. kind: span_processor, span_exporter,
// log_record_processor, log_record_exporter, metric_reader, metric_exporter, sampler, propagator, resource_detector. Called by
// sonde_config_create with the properties (may be null); it makes the component and hands it to the library
// (sonde_exporter_add …). False: it could not. At most 64; a second one of the same name replaces the first, fn null removes it.
typedef bool sonde_component_fn(void *arg, const char *kind, const char *name, const struct sonde_config_node *properties);
SONDE_API bool sonde_component_register(const char *kind, const char *name, sonde_component_fn *fn, void *arg);

#ifdef __cplusplus
}
#endif
