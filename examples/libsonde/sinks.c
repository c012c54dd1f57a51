// Several sinks: a file of JSON lines with everything, rotated by size, and a function that gets the errors: sinks FILE.
#include <sonde/sonde.h>
#include <stdio.h>

static void on_error(void *arg, const struct sonde_sink_line *line)
{
    printf("alert %d: %.*s", ++*(int *)arg, (int)line->n, line->text);
}

int main(int argc, char **argv)
{
    int alerts = 0;
    sonde_init(&(struct sonde_options){.service = "sinks"});
    struct sonde_sink_options file = {.kind = SONDE_SINK_FILE,
                                      .path = argc > 1 ? argv[1] : "sinks.jsonl",
                                      .format = SONDE_FORMAT_JSONL,
                                      .filter = "debug",
                                      .rotate_size = 1 << 20,
                                      .keep = 3,
                                      .loss = SONDE_LOSS_BLOCK,
                                      .block_ms = 1000}; // rather wait than lose
    struct sonde_sink_options function = {.kind = SONDE_SINK_CALLBACK, .filter = "error", .write = on_error, .arg = &alerts};
    int number = sonde_sink_add(&file);
    if (!number || !sonde_sink_add(&function))
        return 1;
    for (int i = 0; i < 1000; i++)
        SONDE_DEBUG("step", SONDE_INT("i", i));
    SONDE_INFO("half way");
    SONDE_ERROR("disk is slow", SONDE_DUR("took", 2500000000));
    sonde_flush(2000);
    struct sonde_sink_counts counts;
    sonde_sink_counts_get(number, &counts);
    printf("file: %llu lines, %llu lost, %llu rotations\n", (unsigned long long)counts.written, (unsigned long long)counts.lost,
           (unsigned long long)counts.rotations);
    return alerts == 1 ? 0 : 2;
}
