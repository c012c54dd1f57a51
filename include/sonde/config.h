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
// argument). Of any text the password of a URL (scheme://user:password@host) and what looks like a key by its form (hf_…, sk-…,
// ghp_…, nvapi-…, Bearer …) goes too.
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

#ifdef __cplusplus
}
#endif
