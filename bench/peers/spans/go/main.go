// Spans of OpenTelemetry's Go SDK: batch processor, an exporter that counts and throws away. Bursts, modes and output as in
// ../sonde.c.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	burst  = 1000
	bursts = 200
	warmUp = 20
)

type count struct{ n atomic.Int64 }

func (c *count) ExportSpans(_ context.Context, spans []sdk.ReadOnlySpan) error {
	c.n.Add(int64(len(spans)))
	return nil
}

func (c *count) Shutdown(context.Context) error { return nil }

func attributes(i int) trace.SpanStartEventOption {
	return trace.WithAttributes(
		attribute.String("component", "backend"), attribute.String("endpoint", "generate"),
		attribute.String("worker_id", "7389121209872234"), attribute.String("model", "llama-3-8b"),
		attribute.Int("input_tokens", i), attribute.Int("output_tokens", 128), attribute.Int("attempt", 0),
		attribute.Float64("ttft_ms", 12.5), attribute.Float64("share", 0.25), attribute.Bool("stream", true))
}

func cpuSeconds() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)*1e-6
}

func main() {
	mode := os.Args[1]
	threads, err := strconv.Atoi(os.Args[2])
	if err != nil || (mode != "plain" && mode != "attributes" && mode != "off") {
		fmt.Fprintln(os.Stderr, "usage: PROGRAM plain|attributes|off THREADS")
		os.Exit(2)
	}
	exported := &count{}
	sampler := sdk.AlwaysSample()
	if mode == "off" {
		sampler = sdk.NeverSample()
	}
	provider := sdk.NewTracerProvider(sdk.WithSampler(sampler), sdk.WithBatcher(exported))
	tracer := provider.Tracer("bench")
	background := context.Background()
	var figures []float64
	var lock sync.Mutex
	cpu := cpuSeconds()
	for b := 0; b < bursts+warmUp; b++ {
		var start, done sync.WaitGroup
		start.Add(1)
		for id := 0; id < threads; id++ {
			done.Add(1)
			go func() {
				defer done.Done()
				start.Wait()
				t := time.Now()
				for i := 0; i < burst/threads; i++ {
					var span trace.Span
					if mode == "attributes" {
						_, span = tracer.Start(background, "handle_payload", attributes(i))
					} else {
						_, span = tracer.Start(background, "handle_payload")
					}
					span.End()
				}
				ns := float64(time.Since(t).Nanoseconds()) / float64(burst/threads)
				if b >= warmUp {
					lock.Lock()
					figures = append(figures, ns)
					lock.Unlock()
				}
			}()
		}
		start.Done()
		done.Wait()
		if provider.ForceFlush(background) != nil {
			os.Exit(1)
		}
	}
	cpu = cpuSeconds() - cpu
	slices.Sort(figures)
	made := (bursts + warmUp) * (burst / threads) * threads
	fmt.Printf("{\"ns\":%.2f,\"p99_ns\":%.2f,\"cpu_ns\":%.2f,\"made\":%d,\"exported\":%d}\n", figures[len(figures)/2],
		figures[len(figures)*99/100], cpu*1e9/float64(made), made, exported.n.Load())
}
