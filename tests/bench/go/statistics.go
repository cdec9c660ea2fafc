package main

import (
	"bytes"
	"fmt"
	"slices"
	"time"
)

// quantiles returns the median and the 99th percentile of all latencies in milliseconds, and how many there are.
func quantiles(latencies ...[]time.Duration) (p50, p99 float64, count int) {
	all := slices.Concat(latencies...)
	if len(all) == 0 {
		return 0, 0, 0
	}
	slices.Sort(all)
	at := func(share float64) float64 {
		return all[min(len(all)-1, int(share*float64(len(all))))].Seconds() * 1000
	}
	return at(0.50), at(0.99), len(all)
}

// keyName is a key of 20 bytes.
func keyName(number int) string { return fmt.Sprintf("key-%016d", number) }

// newValue is the value that a client writes all the time: making it is no part of what is measured.
func newValue(size int) []byte { return bytes.Repeat([]byte("x"), size) }
