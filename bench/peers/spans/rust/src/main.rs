//! Spans of OpenTelemetry's Rust SDK: batch processor, an exporter that counts and throws away. Bursts, modes and output as in
//! ../sonde.c.
use opentelemetry::trace::{Span, Tracer, TracerProvider};
use opentelemetry::KeyValue;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::time::Instant;

const BURST: usize = 1000;
const BURSTS: usize = 200;
const WARM_UP: usize = 20;

#[derive(Debug)]
struct Count(Arc<AtomicUsize>);

impl SpanExporter for Count {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.fetch_add(batch.len(), Relaxed);
        Ok(())
    }
}

fn attributes(i: i64) -> Vec<KeyValue> {
    vec![
        KeyValue::new("component", "backend"),
        KeyValue::new("endpoint", "generate"),
        KeyValue::new("worker_id", "7389121209872234"),
        KeyValue::new("model", "llama-3-8b"),
        KeyValue::new("input_tokens", i),
        KeyValue::new("output_tokens", 128),
        KeyValue::new("attempt", 0),
        KeyValue::new("ttft_ms", 12.5),
        KeyValue::new("share", 0.25),
        KeyValue::new("stream", true),
    ]
}

fn cpu_seconds() -> f64 {
    unsafe {
        let mut u: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut u);
        (u.ru_utime.tv_sec + u.ru_stime.tv_sec) as f64 + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) as f64 * 1e-6
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (mode, threads): (&str, usize) = (&args[1], args[2].parse().expect("a number of threads"));
    assert!(["plain", "attributes", "off"].contains(&mode));
    let exported = Arc::new(AtomicUsize::new(0));
    let provider = SdkTracerProvider::builder()
        .with_sampler(if mode == "off" {
            Sampler::AlwaysOff
        } else {
            Sampler::AlwaysOn
        })
        .with_batch_exporter(Count(exported.clone()))
        .build();
    let tracer = provider.tracer("bench");
    let barrier = Barrier::new(threads);
    let cpu = cpu_seconds();
    let mut bursts: Vec<f64> = std::thread::scope(|s| {
        let all: Vec<_> = (0..threads)
            .map(|id| {
                let (tracer, provider, barrier) = (&tracer, &provider, &barrier);
                s.spawn(move || {
                    let mut ns = Vec::new();
                    for b in 0..BURSTS + WARM_UP {
                        barrier.wait();
                        let t = Instant::now();
                        for i in 0..BURST / threads {
                            let b = tracer.span_builder("handle_payload");
                            let mut span = if mode == "attributes" {
                                b.with_attributes(attributes(i as i64))
                            } else {
                                b
                            }
                            .start(tracer);
                            span.end();
                        }
                        if b >= WARM_UP {
                            ns.push(t.elapsed().as_nanos() as f64 / (BURST / threads) as f64);
                        }
                        barrier.wait();
                        if id == 0 {
                            provider.force_flush().expect("flushed");
                        }
                    }
                    ns
                })
            })
            .collect();
        all.into_iter().flat_map(|h| h.join().unwrap()).collect()
    });
    let cpu = cpu_seconds() - cpu;
    bursts.sort_unstable_by(f64::total_cmp);
    let made = (BURSTS + WARM_UP) * (BURST / threads) * threads;
    println!(
        "{{\"ns\":{:.2},\"p99_ns\":{:.2},\"cpu_ns\":{:.2},\"made\":{made},\"exported\":{}}}",
        bursts[bursts.len() / 2],
        bursts[bursts.len() * 99 / 100],
        cpu * 1e9 / made as f64,
        exported.load(Relaxed)
    );
}
