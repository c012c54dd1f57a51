// A process with a status server, as a worker has it: says its port, serves until its standard input ends.
#include <sonde/config.h>
#include <sonde/metrics.h>
#include <sonde/sonde.h>
#include <sonde/status.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool echo(void *arg, const struct sonde_engine_request *q, struct sonde_engine_reply *out)
{
    (void)arg;
    if (strstr(q->body, "\"fail\"")) {
        sonde_engine_fail(out, "asked to fail");
        return false;
    }
    sonde_engine_answer(out, q->body, q->body_n);
    return true;
}

int main(int argc, char **argv)
{
    char byte;
    sonde_init(&(struct sonde_options){.service = "worker"});
    struct sonde_registry *root = sonde_registry_new("dynamo_component_");
    struct sonde_metric_options o = {.name = "requests_total", .help = "requests"};
    sonde_int_counter_add(sonde_int_counter_new(root, &o, NULL), 5);
    sonde_status_metrics(root);
    sonde_engine_route("echo", echo, NULL);
    struct sonde_endpoint *e = sonde_endpoint_new(&(struct sonde_endpoint_options){.name = "generate"});
    struct sonde_dump_options dump = {.path = argc > 1 ? argv[1] : NULL,
                                      .config = "{\"model\":\"llama\",\"hf_token\":\"geheim\",\"tp\":8}"};
    sonde_config_dump(&dump);
    struct sonde_span *open = sonde_span_start("long request", SONDE_KIND_SERVER, NULL);
    printf("%d\n", sonde_status_port());
    fflush(stdout);
    while (read(0, &byte, 1) == 1)
        sonde_endpoint_ready(e, byte == 'r');
    sonde_span_end(open);
    sonde_shutdown(1000);
    return sonde_status_error()[0] ? 3 : 0;
}
