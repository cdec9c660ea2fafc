// The benchmarks' load generator: the same loop, clock and statistics for etcd over gRPC, by its own client, and for a
// replica over HTTP. Prints one JSON object.
//
//	load -target etcd://127.0.0.1:2379 -operation put -connections 64 -seconds 8
//	load -target http://127.0.0.1:8080 -operation get -connections 64 -seconds 8
//	load -target http://127.0.0.1:8080,http://127.0.0.1:8081 -operation put -connections 64 -seconds 8
//	load -target http://127.0.0.1:8080 -operation put -connections 100 -depth 10 -seconds 8
//	load -target http://127.0.0.1:8080 -other http://127.0.0.1:8081 -operation visible -seconds 5
//	load -target http://127.0.0.1:8080,http://127.0.0.1:8081 -operation watch -connections 16 -keys-prefix run-
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type settings struct {
	target      string
	other       string
	operation   string
	connections int
	depth       int
	seconds     float64
	warmUp      float64
	keys        int
	valueBytes  int
	prefix      string
	pause       time.Duration
}

// A client has one connection of its own, and is used by as many goroutines at a time as may have a request under way.
type client interface {
	// do carries out one operation on the key with that number, and returns when it is answered.
	do(key int) error
	close()
}

// report is what is printed; latencies in milliseconds.
type report struct {
	Requests   int     `json:"requests"`
	Errors     int     `json:"errors"`
	FirstError string  `json:"firstError,omitempty"`
	Seconds    float64 `json:"seconds"`
	PerSecond  float64 `json:"perSecond"`
	P50        float64 `json:"p50Milliseconds"`
	P99        float64 `json:"p99Milliseconds"`
	CPUSeconds float64 `json:"clientCpuSeconds"`
}

func main() {
	log.SetFlags(0)
	var s settings
	flag.StringVar(&s.target, "target", "", "etcd://host:port or http://host:port; several, with commas between, share the connections")
	flag.StringVar(&s.other, "other", "", "visible: the replica that is read")
	flag.StringVar(&s.operation, "operation", "put", "put, get, get-linearizable, fill, visible or watch")
	flag.IntVar(&s.connections, "connections", 1, "connections")
	flag.IntVar(&s.depth, "depth", 1, "requests under way on each connection; over HTTP, more than one are pipelined")
	flag.Float64Var(&s.seconds, "seconds", 5, "how long is measured")
	flag.Float64Var(&s.warmUp, "warm-up", 1, "seconds before that, not counted")
	flag.IntVar(&s.keys, "keys", 1_000_000, "keys, of 20 bytes, from which each request takes one at random")
	flag.IntVar(&s.valueBytes, "value-bytes", 100, "size of a value")
	flag.StringVar(&s.prefix, "keys-prefix", "", "watch: what the names of its keys begin with")
	flag.DurationVar(&s.pause, "pause", 10*time.Millisecond, "watch: from an answer to the next request")
	flag.Parse()

	var result any
	var err error
	switch s.operation {
	case "fill":
		err = fill(s)
	case "visible":
		result, err = measureVisibility(s)
	case "watch":
		result, err = watch(s, os.Stdin, os.Stdout)
	default:
		result, err = measure(s)
	}
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		log.Fatal(err)
	}
}

// connect makes the connection of that number, each to the next target.
func connect(s settings, number int) (client, error) {
	targets := strings.Split(s.target, ",")
	target, err := url.Parse(targets[number%len(targets)])
	if err != nil {
		return nil, err
	}
	if target.Scheme == "etcd" {
		return connectEtcd(target.Host, s)
	}
	if s.depth > 1 {
		return connectPipeline(target.Host, s)
	}
	return connectHTTP(target.Host, s)
}

// measure keeps so many requests under way on each connection, first to warm up and then for the time that counts.
func measure(s settings) (report, error) {
	clients := make([]client, s.connections)
	for i := range clients {
		c, err := connect(s, i)
		if err != nil {
			return report{}, err
		}
		defer c.close()
		clients[i] = c
		if err := c.do(i); err != nil { // the connection is made by its first request
			return report{}, fmt.Errorf("connection %d: %w", i, err)
		}
	}
	if _, err := drive(clients, s, s.warmUp); err != nil {
		return report{}, err
	}
	return drive(clients, s, s.seconds)
}

func drive(clients []client, s settings, seconds float64) (report, error) {
	var stop atomic.Bool
	var workers sync.WaitGroup
	latencies := make([][]time.Duration, len(clients)*s.depth)
	failures := make([]error, len(latencies))
	cpu, begin := cpuSeconds(), time.Now()
	for i := range latencies {
		c := clients[i%len(clients)]
		workers.Go(func() {
			seen := make([]time.Duration, 0, 1<<16)
			for !stop.Load() {
				sent := time.Now()
				if err := c.do(rand.IntN(s.keys)); err != nil {
					failures[i] = err // this one sends no more: a benchmark with errors is void
					break
				}
				seen = append(seen, time.Since(sent))
			}
			latencies[i] = seen
		})
	}
	time.AfterFunc(time.Duration(seconds*float64(time.Second)), func() { stop.Store(true) })
	workers.Wait()
	elapsed := time.Since(begin).Seconds()

	p50, p99, count := quantiles(latencies...)
	r := report{
		Requests: count, Seconds: elapsed, PerSecond: float64(count) / elapsed,
		P50: p50, P99: p99, CPUSeconds: cpuSeconds() - cpu,
	}
	for _, failure := range failures {
		if failure != nil {
			r.Errors++
			r.FirstError = failure.Error()
		}
	}
	return r, nil
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}
