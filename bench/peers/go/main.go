// zerolog and zap, JSON lines, without the place of the call (which costs both more than the rest of the line). Variants:
// zerolog (one write in each call), diode (zerolog's lossy queue, 8192 lines, looked at each millisecond),
// zap (one write in each call), zapbuf (zap's buffered writer of 256 KiB).
// Same bursts, modes and output as ../harness.h; see bench/README.md.
package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/rs/zerolog/diode"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	burst      = 2000
	bursts     = 30
	chunk      = 100
	loops      = 10
	warmUp     = 50
	warmUpTime = 100 * time.Millisecond
	nCold      = 300
	disabled   = 400000
	rounds     = 5
	batch      = 4000
)

// peer is what the harness needs of a library.
type peer struct {
	call, disabled func(i int)
	drain, close   func() // drain: returns when all records so far are written
}

var asked atomic.Int64 // calls of all threads, in whole bursts

// counted is the file, and how many lines have been written to it.
type counted struct {
	w       io.Writer
	written atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.written.Add(1)
	return n, err
}

var (
	zl zerolog.Logger
	za *zap.Logger
)

func zerologPeer(w io.Writer) peer {
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000000Z07:00"
	zl = zerolog.New(w).With().Timestamp().Logger().Level(zerolog.InfoLevel)
	return peer{
		call: func(i int) {
			zl.Info().Str("worker", "decode-worker-1").Int("tokens", i).Int("blocks", 17).Float64("ms", 1.25).Msg("kv transfer done")
		},
		disabled: func(i int) { zl.Trace().Int("i", i).Msg("never") },
		drain:    func() {},
		close:    func() {},
	}
}

func zapPeer(w zapcore.WriteSyncer) peer {
	c := zap.NewProductionEncoderConfig()
	c.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	za = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(c), w, zapcore.InfoLevel))
	return peer{
		call: func(i int) {
			za.Info("kv transfer done", zap.String("worker", "decode-worker-1"), zap.Int("tokens", i), zap.Int("blocks", 17), zap.Float64("ms", 1.25))
		},
		disabled: func(i int) { za.Debug("never", zap.Int("i", i)) },
		drain:    func() { za.Sync() },
		close:    func() { za.Sync() },
	}
}

// noSync keeps zap's Sync from calling fsync, which nobody else here does.
type noSync struct{ io.Writer }

func (noSync) Sync() error { return nil }

func open(variant, path string) peer {
	file, err := os.Create(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	switch variant {
	case "zerolog":
		return zerologPeer(file)
	case "diode":
		var missed atomic.Int64
		c := &counted{w: file}
		w := diode.NewWriter(c, 8192, time.Millisecond, func(n int) { missed.Add(int64(n)) })
		p := zerologPeer(w)
		p.drain = func() {
			for last, since := int64(-1), time.Now(); c.written.Load()+missed.Load() < asked.Load(); time.Sleep(50 * time.Microsecond) {
				// what was overwritten is counted only when the reader gets past it, so the last of it never is
				if n := c.written.Load(); n != last {
					last, since = n, time.Now()
				} else if time.Since(since) > 20*time.Millisecond {
					break
				}
			}
		}
		p.close = func() { w.Close() }
		return p
	case "zap":
		return zapPeer(zapcore.Lock(noSync{file}))
	case "zapbuf":
		w := &zapcore.BufferedWriteSyncer{WS: noSync{file}}
		p := zapPeer(w)
		p.close = func() { w.Stop() }
		return p
	}
	usage()
	return peer{}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: PROGRAM VARIANT calls FILE THREADS | VARIANT flat|whole FILE THREADS LINES")
	os.Exit(2)
}

func calibrate() float64 {
	a, ta := time.Now(), tick()
	time.Sleep(20 * time.Millisecond)
	return float64(time.Since(a).Nanoseconds()) / float64(tick()-ta)
}

var tickNs float64

func quantile(sorted []uint64, q float64) float64 {
	return float64(sorted[int(float64(len(sorted)-1)*q)]) * tickNs
}

func clockFloor() float64 {
	d := make([]uint64, 20000)
	for i := range d {
		t := tick()
		d[i] = tick() - t
	}
	slices.Sort(d)
	return quantile(d, 0.5)
}

func printQuantiles(name string, d []uint64, off float64) {
	slices.Sort(d)
	at := func(q float64) float64 { return quantile(d, q) - off }
	fmt.Printf(",%q:{\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"p999\":%.2f}", name, at(0.5), at(0.9), at(0.99), at(0.999))
}

func cpuSeconds() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) * 1e-9
}

// barrier: all of n arrive, then all go on.
type barrier struct {
	mu    sync.Mutex
	cond  *sync.Cond
	n, in int
	round int
}

func newBarrier(n int) *barrier {
	b := &barrier{n: n}
	b.cond = sync.NewCond(&b.mu)
	return b
}

func (b *barrier) wait() {
	b.mu.Lock()
	defer b.mu.Unlock()
	round := b.round
	if b.in++; b.in == b.n {
		b.in, b.round = 0, round+1
		b.cond.Broadcast()
	}
	for round == b.round {
		b.cond.Wait()
	}
}

type run struct {
	peer     peer
	threads  int
	barrier  *barrier
	begun    time.Time
	met      int
	warmedUp bool   // written between two barriers
	startAt  uint64 // as warmedUp
}

type figures struct {
	warm, cold []uint64
	chunks     []float64
	disabled   float64
}

// meet: all threads meet, what they said is written out, and they begin the next burst in the same microsecond.
func (r *run) meet(id, said int) {
	asked.Add(int64(said))
	r.barrier.wait()
	if id == 0 {
		r.peer.drain()
		r.warmedUp = r.met >= warmUp || time.Since(r.begun) >= warmUpTime
		r.met++
		r.startAt = 0
		if r.threads > 1 {
			r.startAt = tick() + uint64(50000/tickNs)
		}
	}
	r.barrier.wait()
	for tick() < r.startAt {
	}
}

func (r *run) calls(id int, f *figures) {
	call := r.peer.call
	f.warm = make([]uint64, burst*bursts)
	for i := range f.warm {
		f.warm[i] = 1
	}
	said := 0
	for counted := 0; counted < bursts; {
		r.meet(id, said)
		d := f.warm[counted*burst : (counted+1)*burst]
		for i := range d {
			t := tick()
			call(i)
			d[i] = tick() - t
		}
		said = burst
		if r.warmedUp {
			counted++
		}
	}
	for l := 0; l < loops; l++ {
		r.meet(id, said)
		for c := 0; c < burst/chunk; c++ {
			t := tick()
			for i := 0; i < chunk; i++ {
				call(i)
			}
			f.chunks = append(f.chunks, float64(tick()-t)*tickNs/chunk)
		}
	}
	r.meet(id, said)
	if r.threads > 1 {
		return
	}
	f.cold = make([]uint64, nCold)
	for i := range f.cold {
		time.Sleep(500 * time.Microsecond)
		t := tick()
		call(i)
		f.cold[i] = tick() - t
	}
	asked.Add(nCold)
	f.disabled = math.Inf(1)
	for n := 0; n < rounds; n++ {
		t, off := time.Now(), r.peer.disabled
		for i := 0; i < disabled; i++ {
			off(i)
		}
		f.disabled = min(f.disabled, float64(time.Since(t).Nanoseconds())/disabled)
	}
}

func (r *run) lines(id, lines int, whole bool) {
	step := lines
	if whole {
		step = batch / r.threads
	}
	for i := 0; i < lines; {
		from := i
		for to := min(i+step, lines); i < to; i++ {
			r.peer.call(i)
		}
		if whole {
			r.meet(id, i-from)
		} else {
			asked.Add(int64(i - from))
		}
	}
}

func main() {
	args := os.Args
	if len(args) < 5 || (args[2] == "calls") != (len(args) == 5) || (len(args) == 6 && args[2] != "flat" && args[2] != "whole") {
		usage()
	}
	mode, lines := args[2], 0
	threads, err := strconv.Atoi(args[4])
	if err == nil && mode != "calls" {
		lines, err = strconv.Atoi(args[5])
	}
	if err != nil || threads < 1 || len(args) > 6 {
		usage()
	}
	r := &run{peer: open(args[1], args[3]), threads: threads, barrier: newBarrier(threads)}
	tickNs = calibrate()
	off := clockFloor()
	all := make([]figures, threads)
	gate := newBarrier(threads + 1)
	var done sync.WaitGroup
	for id := range all {
		done.Add(1)
		go func() {
			defer done.Done()
			runtime.LockOSThread()
			gate.wait()
			if mode == "calls" {
				r.calls(id, &all[id])
			} else {
				r.lines(id, lines/threads, mode == "whole")
			}
		}()
	}
	start, cpu := time.Now(), cpuSeconds()
	r.begun = start
	gate.wait()
	done.Wait()
	said := time.Since(start).Seconds()
	r.peer.drain()
	r.peer.close()
	end := time.Since(start).Seconds()
	fmt.Printf("{\"sent\":%d,\"clock_ns\":%.2f,\"seconds\":%.6f,\"said_seconds\":%.6f,\"cpu_seconds\":%.6f", asked.Load(), off, end, said, cpuSeconds()-cpu)
	if mode == "calls" {
		var warm []uint64
		var means []float64
		for i := range all {
			warm = append(warm, all[i].warm...)
			means = append(means, all[i].chunks...)
		}
		printQuantiles("warm", warm, off)
		slices.Sort(means)
		fmt.Printf(",\"mean\":%.2f", means[len(means)/2])
		if threads == 1 {
			printQuantiles("cold", all[0].cold, off)
			fmt.Printf(",\"disabled\":%.3f", all[0].disabled)
		}
	}
	fmt.Println("}")
}
