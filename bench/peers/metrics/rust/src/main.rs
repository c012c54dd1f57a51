// prometheus-client and OpenTelemetry for Rust on the work of bench_metrics.c. Each line: library, operation, then the lowest and the
// median nanoseconds of an update, alone and on each of two threads.
use opentelemetry::{metrics::MeterProvider, KeyValue};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use prometheus_client::metrics::{counter::Counter, family::Family, histogram::Histogram};
use std::sync::{atomic::AtomicU64, Barrier};
use std::time::Instant;

const ROUNDS: usize = 31;
const N: usize = 100_000;
const VALUES: usize = 16384;
const BOUNDS: [f64; 18] = [
    0.0, 0.0022, 0.0047, 0.01, 0.022, 0.047, 0.1, 0.22, 0.47, 1.0, 2.2, 4.7, 10.0, 22.0, 48.0, 100.0, 220.0, 480.0,
];

fn values() -> Vec<f64> {
    let mut x: u64 = 88172645463325252;
    (0..VALUES)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            0.001 * (1u32 << (x % 14)) as f64 * (1.0 + (x >> 40) as f64 / (1 << 24) as f64)
        })
        .collect()
}

fn round(op: &(dyn Fn(usize) + Sync)) -> f64 {
    let start = Instant::now();
    for i in 0..N {
        op(i);
    }
    start.elapsed().as_nanos() as f64 / N as f64
}

fn show(library: &str, name: &str, op: &(dyn Fn(usize) + Sync)) {
    let sorted = |mut v: Vec<f64>| {
        v.sort_by(|a, b| a.partial_cmp(b).unwrap());
        (v[0], v[v.len() / 2])
    };
    round(op);
    let alone = sorted((0..ROUNDS).map(|_| round(op)).collect());
    let barrier = Barrier::new(2);
    let both = std::thread::scope(|s| {
        let t: Vec<_> = (0..2)
            .map(|_| {
                s.spawn(|| {
                    round(op);
                    (0..ROUNDS)
                        .map(|_| {
                            barrier.wait();
                            round(op)
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        sorted(t.into_iter().flat_map(|t| t.join().unwrap()).collect())
    });
    println!("{library}\t{name}\t{:.1}\t{:.1}\t{:.1}\t{:.1}", alone.0, alone.1, both.0, both.1);
}

fn main() {
    let v = values();
    let ints = Counter::<u64, AtomicU64>::default();
    show("prometheus-client (Rust)", "int counter add", &|i| {
        ints.inc_by(i as u64);
    });
    let floats = Counter::<f64, AtomicU64>::default();
    show("prometheus-client (Rust)", "counter add", &|i| {
        floats.inc_by(1.5 + i as f64);
    });
    let histogram = Histogram::new(BOUNDS);
    show("prometheus-client (Rust)", "histogram observe", &|i| histogram.observe(v[i & (VALUES - 1)]));
    let family = Family::<Vec<(String, String)>, Counter>::default();
    let labels = vec![("endpoint".to_string(), "chat_completions".to_string()), ("status".to_string(), "success".to_string())];
    show("prometheus-client (Rust)", "two labels and counter add", &|_| {
        family.get_or_create(&labels).inc();
    });

    let reader = PeriodicReader::builder(InMemoryMetricExporter::default()).build(); // each 60 s: not while this runs
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let meter = provider.meter("bench");
    let ints = meter.u64_counter("ints").build();
    let floats = meter.f64_counter("floats").build();
    let histogram = meter.f64_histogram("classic").with_boundaries(BOUNDS.to_vec()).build();
    let attributes = [KeyValue::new("http.route", "/v1/chat/completions"), KeyValue::new("status", 200)];
    show("OpenTelemetry (Rust)", "int counter add", &|i| ints.add(i as u64, &[]));
    show("OpenTelemetry (Rust)", "counter add", &|i| floats.add(1.5 + i as f64, &[]));
    show("OpenTelemetry (Rust)", "histogram observe", &|i| histogram.record(v[i & (VALUES - 1)], &[]));
    show("OpenTelemetry (Rust)", "two labels and counter add", &|i| ints.add(i as u64, &attributes));
}
