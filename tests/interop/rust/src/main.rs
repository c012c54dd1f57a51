//! Sends traces, logs and a metric as any program with OpenTelemetry's Rust SDK does, and says how many.
//!   otel-send grpc|http/protobuf|http/json ENDPOINT TRACES [gzip]
//! ENDPOINT is http://HOST:PORT. A trace is a server span with one child; with each comes a log record inside the child.
//! Prints {"spans": …, "logs": …, "errors": […]}; the errors are what the exporters told at their end.
use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Link, Span, SpanKind, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{
    Compression, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use opentelemetry_sdk::Resource;

macro_rules! exporter {
    ($builder:ident, $protocol:expr, $endpoint:expr, $path:literal, $gzip:expr) => {
        match $protocol {
            "grpc" => {
                let b = $builder::builder().with_tonic().with_endpoint($endpoint);
                if $gzip {
                    b.with_compression(Compression::Gzip).build()
                } else {
                    b.build()
                }
            }
            p => {
                let b = $builder::builder()
                    .with_http()
                    .with_protocol(if p == "http/json" {
                        Protocol::HttpJson
                    } else {
                        Protocol::HttpBinary
                    })
                    .with_endpoint(format!("{}{}", $endpoint, $path));
                if $gzip {
                    b.with_compression(Compression::Gzip).build()
                } else {
                    b.build()
                }
            }
        }
        .expect("an exporter")
    };
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (protocol, endpoint) = (args[1].as_str(), args[2].as_str());
    let traces: i64 = args[3].parse().expect("a number of traces");
    let gzip = args.get(4).is_some_and(|a| a == "gzip");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let resource = Resource::builder()
        .with_service_name("rust-sender")
        .with_attribute(KeyValue::new("service.instance.id", "r-1"))
        .build();
    let tracers = SdkTracerProvider::builder()
        .with_resource(resource.clone())
        .with_batch_exporter(exporter!(SpanExporter, protocol, endpoint, "/v1/traces", gzip))
        .build();
    let loggers = SdkLoggerProvider::builder()
        .with_resource(resource.clone())
        .with_batch_exporter(exporter!(LogExporter, protocol, endpoint, "/v1/logs", gzip))
        .build();
    let meters = SdkMeterProvider::builder()
        .with_resource(resource)
        .with_periodic_exporter(exporter!(MetricExporter, protocol, endpoint, "/v1/metrics", gzip))
        .build();
    let (tracer, logger) = (tracers.tracer("rust.scope"), loggers.logger("rust.scope"));
    let counter = meters.meter("rust.scope").u64_counter("sent_traces").build();
    for i in 0..traces {
        let mut parent = tracer.span_builder("rust-parent").with_kind(SpanKind::Server).start(&tracer);
        parent.set_attribute(KeyValue::new("n", i));
        let linked = parent.span_context().clone();
        let outer = Context::current_with_span(parent);
        let mut child = tracer
            .span_builder("rust-child")
            .with_kind(SpanKind::Client)
            .with_links(vec![Link::with_context(linked)])
            .start_with_context(&tracer, &outer);
        child.set_attribute(KeyValue::new("share", 0.5));
        child.add_event("first_token", vec![KeyValue::new("text", "ä\n\"x\"")]);
        child.set_status(Status::error("it failed"));
        let inner = outer.with_span(child);
        let mut record = logger.create_log_record();
        record.set_severity_number(Severity::Warn);
        record.set_body(AnyValue::String(format!("line {i} of the Rust SDK").into()));
        record.add_attribute("n", i);
        let ids = inner.span().span_context().clone();
        record.set_trace_context(ids.trace_id(), ids.span_id(), Some(ids.trace_flags()));
        logger.emit(record);
        inner.span().end();
        outer.span().end();
        counter.add(1, &[]);
    }
    let mut errors = Vec::new();
    for (name, end) in [
        ("traces", tracers.shutdown()),
        ("logs", loggers.shutdown()),
        ("metrics", meters.shutdown()),
    ] {
        if let Err(e) = end {
            errors.push(format!("\"{name}: {}\"", e.to_string().replace(['"', '\\'], "'")));
        }
    }
    println!(
        "{{\"spans\": {}, \"logs\": {traces}, \"errors\": [{}]}}",
        traces * 2,
        errors.join(", ")
    );
}
