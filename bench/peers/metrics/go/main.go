// client_golang and OpenTelemetry for Go on the work of bench_metrics.c; lines as in ../rust/src/main.rs.
package main

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
)

const (
	rounds = 31
	n      = 100000
	values = 16384
)

var bounds = []float64{0, 0.0022, 0.0047, 0.01, 0.022, 0.047, 0.1, 0.22, 0.47, 1, 2.2, 4.7, 10, 22, 48, 100, 220, 480}

func numbers() []float64 {
	v := make([]float64, values)
	x := uint64(88172645463325252)
	for i := range v {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		v[i] = 0.001 * float64(uint32(1)<<(x%14)) * (1 + float64(x>>40)/float64(1<<24))
	}
	return v
}

func round(op func(int)) float64 {
	start := time.Now()
	for i := 0; i < n; i++ {
		op(i)
	}
	return float64(time.Since(start).Nanoseconds()) / n
}

func show(library, name string, op func(int)) {
	round(op)
	alone := make([]float64, rounds)
	for i := range alone {
		alone[i] = round(op)
	}
	var lock sync.Mutex
	var both []float64
	for i := 0; i < rounds; i++ {
		var done sync.WaitGroup
		for k := 0; k < 2; k++ {
			done.Add(1)
			go func() {
				ns := round(op)
				lock.Lock()
				both = append(both, ns)
				lock.Unlock()
				done.Done()
			}()
		}
		done.Wait()
	}
	sort.Float64s(alone)
	sort.Float64s(both)
	fmt.Printf("%s\t%s\t%.1f\t%.1f\t%.1f\t%.1f\n", library, name, alone[0], alone[rounds/2], both[0], both[rounds])
}

func main() {
	v := numbers()
	ctx := context.Background()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "c"})
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "h", Buckets: bounds})
	native := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "n", NativeHistogramBucketFactor: 1.1})
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "v"}, []string{"endpoint", "status"})
	show("client_golang", "int counter add", func(i int) { c.Add(float64(i)) })
	show("client_golang", "counter add", func(i int) { c.Add(1.5 + float64(i)) })
	show("client_golang", "histogram observe", func(i int) { h.Observe(v[i&(values-1)]) })
	show("client_golang", "native histogram observe", func(i int) { native.Observe(v[i&(values-1)]) })
	show("client_golang", "two labels and counter add", func(i int) { vec.WithLabelValues("chat_completions", "success").Add(1) })

	view := sdk.NewView(sdk.Instrument{Name: "native"}, sdk.Stream{Aggregation: sdk.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 8}})
	meter := sdk.NewMeterProvider(sdk.WithReader(sdk.NewManualReader()), sdk.WithView(view)).Meter("bench")
	ints, _ := meter.Int64Counter("ints")
	floats, _ := meter.Float64Counter("floats")
	classic, _ := meter.Float64Histogram("classic", metric.WithExplicitBucketBoundaries(bounds...))
	exponential, _ := meter.Float64Histogram("native")
	set := metric.WithAttributeSet(attribute.NewSet(attribute.String("http.route", "/v1/chat/completions"), attribute.Int("status", 200)))
	show("OpenTelemetry (Go)", "int counter add", func(i int) { ints.Add(ctx, int64(i)) })
	show("OpenTelemetry (Go)", "counter add", func(i int) { floats.Add(ctx, 1.5+float64(i)) })
	show("OpenTelemetry (Go)", "histogram observe", func(i int) { classic.Record(ctx, v[i&(values-1)]) })
	show("OpenTelemetry (Go)", "native histogram observe", func(i int) { exponential.Record(ctx, v[i&(values-1)]) })
	show("OpenTelemetry (Go)", "two labels and counter add", func(i int) { ints.Add(ctx, int64(i), set) })
}
