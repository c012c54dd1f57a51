//! Rust's `tracing` with the JSON lines of tracing-subscriber. Variants: sync (one write in each call), lossy and block
//! (tracing-appender's non-blocking writer, which drops or waits when its queue of 128,000 lines is full).
//! Same bursts, modes and output as ../harness.h; see bench/README.md.
use std::fs::File;
use std::hint::{black_box, spin_loop};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::{Arc, Barrier, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

const BURST: usize = 2000;
const BURSTS: usize = 30;
const CHUNK: usize = 100;
const LOOPS: usize = 10;
const WARM_UP: u64 = 50;
const WARM_UP_TIME: Duration = Duration::from_millis(100);
const COLD: usize = 300;
const DISABLED: i64 = 400_000;
const ROUNDS: usize = 5;
const BATCH: i64 = 40_000; // of the 128,000 lines that the queue holds

#[inline(always)]
fn tick() -> u64 {
    #[cfg(target_arch = "x86_64")]
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
    #[cfg(target_arch = "aarch64")]
    unsafe {
        let t: u64;
        core::arch::asm!("mrs {}, cntvct_el0", out(reg) t);
        t
    }
}

/// The file, and how many lines have been written to it.
struct Counted {
    file: File,
    written: Arc<AtomicU64>,
}

impl Write for Counted {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let n = self.file.write(line)?;
        self.written.fetch_add(1, Release);
        Ok(n)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// What stands behind the calls. `asked` counts the calls of all threads, in whole bursts.
struct Peer {
    asked: AtomicU64,
    written: Arc<AtomicU64>,
    queue: Option<ErrorCounter>,
    guard: Mutex<Option<WorkerGuard>>,
}

fn install<W: for<'a> MakeWriter<'a> + Send + Sync + 'static>(writer: W) {
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_current_span(false)
        .with_span_list(false)
        .with_file(true)
        .with_line_number(true)
        .with_max_level(tracing::Level::INFO)
        .with_writer(writer)
        .finish();
    tracing::subscriber::set_global_default(subscriber).expect("first subscriber");
}

fn open(variant: &str, file: &str) -> Peer {
    let file = File::create(file).expect("cannot open the file");
    let written = Arc::new(AtomicU64::new(0));
    let mut peer = Peer {
        asked: 0.into(),
        written: written.clone(),
        queue: None,
        guard: None.into(),
    };
    match variant {
        "sync" => install(Arc::new(file)),
        "lossy" | "block" => {
            let (writer, guard) = NonBlockingBuilder::default()
                .lossy(variant == "lossy")
                .finish(Counted { file, written });
            peer.queue = Some(writer.error_counter());
            peer.guard = Some(guard).into();
            install(writer);
        }
        _ => usage(),
    }
    peer
}

impl Peer {
    /// Returns when all records so far are written.
    fn drain(&self) {
        if let Some(queue) = &self.queue {
            while self.written.load(Acquire) + (queue.dropped_lines() as u64) < self.asked.load(Acquire) {
                sleep(Duration::from_micros(50));
            }
        }
    }
    fn close(&self) {
        self.guard.lock().unwrap().take();
    }
}

#[inline(always)]
fn call(i: i64) {
    tracing::info!(
        worker = "decode-worker-1",
        tokens = i,
        blocks = 17,
        ms = 1.25,
        "kv transfer done"
    );
}

#[inline(always)]
fn disabled(i: i64) {
    tracing::trace!(i, "never");
}

fn calibrate() -> f64 {
    let (a, ta) = (Instant::now(), tick());
    sleep(Duration::from_millis(20));
    a.elapsed().as_nanos() as f64 / (tick() - ta) as f64
}

fn quantile(sorted: &[u64], q: f64, tick_ns: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * q) as usize] as f64 * tick_ns
}

fn clock_floor(tick_ns: f64) -> f64 {
    let mut d: Vec<u64> = (0..20000)
        .map(|_| {
            let t = tick();
            tick() - t
        })
        .collect();
    d.sort_unstable();
    quantile(&d, 0.5, tick_ns)
}

fn print_quantiles(name: &str, d: &mut [u64], tick_ns: f64, off: f64) {
    d.sort_unstable();
    let at = |q| quantile(d, q, tick_ns) - off;
    print!(
        ",\"{name}\":{{\"p50\":{:.2},\"p90\":{:.2},\"p99\":{:.2},\"p999\":{:.2}}}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999)
    );
}

fn cpu_seconds() -> f64 {
    unsafe {
        let mut u: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut u);
        (u.ru_utime.tv_sec + u.ru_stime.tv_sec) as f64 + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) as f64 * 1e-6
    }
}

/// What the threads of a run share.
struct Run {
    peer: Peer,
    threads: usize,
    tick_ns: f64,
    barrier: Barrier,
    begun: Instant,
    met: AtomicU64,
    warmed_up: AtomicBool,
    start_at: AtomicU64,
}

#[derive(Default)]
struct Figures {
    warm: Vec<u64>,
    cold: Vec<u64>,
    chunks: Vec<f64>,
    disabled: f64,
}

impl Run {
    /// All threads meet, what they said is written out, and they begin the next burst in the same microsecond.
    fn meet(&self, id: usize, asked: u64) {
        self.peer.asked.fetch_add(asked, AcqRel);
        self.barrier.wait();
        if id == 0 {
            self.peer.drain();
            let met = self.met.fetch_add(1, Relaxed);
            self.warmed_up
                .store(met >= WARM_UP || self.begun.elapsed() >= WARM_UP_TIME, Release);
            let at = if self.threads > 1 {
                tick() + (50000.0 / self.tick_ns) as u64
            } else {
                0
            };
            self.start_at.store(at, Release);
        }
        self.barrier.wait();
        let at = self.start_at.load(Acquire);
        while tick() < at {
            spin_loop();
        }
    }

    fn calls(&self, id: usize) -> Figures {
        let mut f = Figures {
            warm: vec![1; BURST * BURSTS],
            ..Default::default()
        };
        let (mut counted, mut said) = (0, 0);
        while counted < BURSTS {
            self.meet(id, said);
            for (i, d) in f.warm[counted * BURST..(counted + 1) * BURST].iter_mut().enumerate() {
                let t = tick();
                call(i as i64);
                *d = tick() - t;
            }
            said = BURST as u64;
            counted += self.warmed_up.load(Acquire) as usize;
        }
        for _ in 0..LOOPS {
            self.meet(id, said);
            for _ in 0..BURST / CHUNK {
                let t = tick();
                for i in 0..CHUNK {
                    call(i as i64);
                }
                f.chunks.push((tick() - t) as f64 * self.tick_ns / CHUNK as f64);
            }
        }
        self.meet(id, said);
        if self.threads == 1 {
            for i in 0..COLD {
                sleep(Duration::from_micros(500));
                let t = tick();
                call(i as i64);
                f.cold.push(tick() - t);
            }
            self.peer.asked.fetch_add(COLD as u64, AcqRel);
            f.disabled = f64::MAX;
            for _ in 0..ROUNDS {
                let t = Instant::now();
                for i in 0..DISABLED {
                    disabled(black_box(i));
                }
                f.disabled = f.disabled.min(t.elapsed().as_nanos() as f64 / DISABLED as f64);
            }
        }
        f
    }

    fn lines(&self, id: usize, lines: i64, whole: bool) -> Figures {
        let batch = if whole { BATCH / self.threads as i64 } else { lines };
        let mut i = 0;
        while i < lines {
            let from = i;
            while i < lines.min(from + batch) {
                call(i);
                i += 1;
            }
            if whole {
                self.meet(id, (i - from) as u64);
            } else {
                self.peer.asked.fetch_add((i - from) as u64, AcqRel);
            }
        }
        Figures::default()
    }
}

fn usage() -> ! {
    eprintln!("usage: PROGRAM VARIANT calls FILE THREADS | VARIANT flat|whole FILE THREADS LINES");
    std::process::exit(2);
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (variant, mode, file, threads, lines) = match args[1..] {
        [variant, "calls", file, threads] => (variant, "calls", file, threads, "0"),
        [variant, mode @ ("flat" | "whole"), file, threads, lines] => (variant, mode, file, threads, lines),
        _ => usage(),
    };
    let (Ok(threads), Ok(lines)) = (threads.parse::<usize>(), lines.parse::<i64>()) else {
        usage()
    };
    if threads == 0 {
        usage();
    }
    let peer = open(variant, file);
    let tick_ns = calibrate();
    let off = clock_floor(tick_ns);
    let run = Run {
        peer,
        threads,
        tick_ns,
        barrier: Barrier::new(threads),
        begun: Instant::now(),
        met: 0.into(),
        warmed_up: false.into(),
        start_at: 0.into(),
    };
    let gate = Barrier::new(threads + 1);
    let (mut figures, start, cpu) = std::thread::scope(|s| {
        let handles: Vec<_> = (0..threads)
            .map(|id| {
                let (run, gate) = (&run, &gate);
                s.spawn(move || {
                    gate.wait();
                    if mode == "calls" {
                        run.calls(id)
                    } else {
                        run.lines(id, lines / threads as i64, mode == "whole")
                    }
                })
            })
            .collect();
        let (start, cpu) = (Instant::now(), cpu_seconds());
        gate.wait();
        (handles.into_iter().map(|h| h.join().unwrap()).collect::<Vec<_>>(), start, cpu)
    });
    let said = start.elapsed().as_secs_f64();
    run.peer.drain();
    run.peer.close();
    let end = start.elapsed().as_secs_f64();
    print!(
        "{{\"sent\":{},\"clock_ns\":{off:.2},\"seconds\":{end:.6},\"said_seconds\":{said:.6},\"cpu_seconds\":{:.6}",
        run.peer.asked.load(Acquire),
        cpu_seconds() - cpu
    );
    if mode == "calls" {
        let mut warm: Vec<u64> = figures.iter().flat_map(|f| f.warm.iter().copied()).collect();
        print_quantiles("warm", &mut warm, tick_ns, off);
        let mut chunks: Vec<f64> = figures.iter().flat_map(|f| f.chunks.iter().copied()).collect();
        chunks.sort_unstable_by(f64::total_cmp);
        print!(",\"mean\":{:.2}", chunks[chunks.len() / 2]);
        if threads == 1 {
            print_quantiles("cold", &mut figures[0].cold, tick_ns, off);
            print!(",\"disabled\":{:.3}", figures[0].disabled);
        }
    }
    println!("}}");
}
