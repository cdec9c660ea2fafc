package main

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// visibility is what a client sees that writes to one replica and reads from another, one after the other.
type visibility struct {
	Writes       int     `json:"writes"`
	VisibleP50   float64 `json:"visibleP50Milliseconds"`   // from the write's acknowledgement to the read's answer
	VisibleP99   float64 `json:"visibleP99Milliseconds"`   //
	RoundTripP50 float64 `json:"roundTripP50Milliseconds"` // of the same read when it has nothing to wait for
	RoundTripP99 float64 `json:"roundTripP99Milliseconds"` //
}

// measureVisibility puts to the target and, the moment that this is acknowledged, reads from the other with the write's
// token: that replica answers once it has applied the write. So the time holds a whole round trip, which is measured
// alone by asking once more.
func measureVisibility(s settings) (visibility, error) {
	writer := newHTTPClient(strings.TrimPrefix(s.target, "http://"))
	reader := newHTTPClient(strings.TrimPrefix(s.other, "http://"))
	var visible, roundTrip []time.Duration
	begin := time.Now()
	for count := 0; time.Since(begin).Seconds() < s.warmUp+s.seconds; count++ {
		path, value := keyPath(keyName(count%s.keys)), []byte(fmt.Sprintf("%0*d", s.valueBytes, count))
		if err := writer.send(http.MethodPut, path, value); err != nil {
			return visibility{}, err
		}
		acknowledged := time.Now()
		reader.request.Header.SetBytesV("SLKV-Token", writer.response.Header.Peek("SLKV-Token"))
		if err := reader.send(http.MethodGet, path, nil); err != nil {
			return visibility{}, err
		}
		answered := time.Now()
		if read := reader.response.Body(); !bytes.Equal(read, value) {
			return visibility{}, fmt.Errorf("%s: read %q after %q was acknowledged", path, read, value)
		}
		if err := reader.send(http.MethodGet, path, nil); err != nil {
			return visibility{}, err
		}
		if time.Since(begin).Seconds() > s.warmUp {
			visible = append(visible, answered.Sub(acknowledged))
			roundTrip = append(roundTrip, time.Since(answered))
		}
	}
	var v visibility
	v.VisibleP50, v.VisibleP99, v.Writes = quantiles(visible)
	v.RoundTripP50, v.RoundTripP99, _ = quantiles(roundTrip)
	return v, nil
}
