package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// observation is what clients saw while somebody else broke things; times in nanoseconds since the epoch, by the clock
// that all programs of the machine share.
type observation struct {
	Acknowledged []acknowledgement  `json:"acknowledged"` // by client, each in order
	Answered     map[string][]int64 `json:"answered"`     // by target: when each read was answered
	NotWritten   int                `json:"notWritten"`   // writes that were surely not carried out
	Unknown      int                `json:"unknown"`      // writes of which nobody knows
	FailedReads  int                `json:"failedReads"`
	FirstFailure string             `json:"firstFailure,omitempty"` // of a read
}

type acknowledgement struct {
	Key string `json:"key"`
	At  int64  `json:"at"`
}

// watch writes and reads, half of the connections each and spread over all targets, until its input ends. It says so
// in a line of its own once every client was answered, so that there is no other pause to be seen than that which
// somebody then causes. Each write has a key of its own: none hides that another is lost.
func watch(s settings, input io.Reader, output io.Writer) (observation, error) {
	targets := strings.Split(s.target, ",")
	if s.connections < 2*len(targets) {
		return observation{}, fmt.Errorf("%d connections are not enough to write to and read from each target", s.connections)
	}
	w := &watcher{settings: s, seen: observation{Answered: map[string][]int64{}}}
	var workers sync.WaitGroup
	var begun sync.WaitGroup
	begun.Add(s.connections)
	for i := range s.connections {
		target := targets[i/2%len(targets)]
		c := newHTTPClient(strings.TrimPrefix(target, "http://"))
		workers.Go(func() {
			if i%2 == 0 {
				w.write(c, i, begun.Done)
			} else {
				w.read(c, target, begun.Done)
			}
		})
	}
	begun.Wait()
	if _, err := fmt.Fprintln(output, "begun"); err != nil {
		return observation{}, err
	}
	if _, err := io.Copy(io.Discard, input); err != nil {
		return observation{}, err
	}
	w.stop.Store(true)
	workers.Wait()
	return w.seen, nil
}

type watcher struct {
	settings settings
	stop     atomic.Bool
	mutex    sync.Mutex
	seen     observation
}

// write puts one key after the other, and calls begun once, when the first is acknowledged.
func (w *watcher) write(c *httpClient, number int, begun func()) {
	once := sync.OnceFunc(begun)
	value := newValue(w.settings.valueBytes)
	for count := 0; !w.stop.Load(); count++ {
		key := fmt.Sprintf("%s%d-%d", w.settings.prefix, number, count)
		err := c.send(http.MethodPut, keyPath(key), value)
		w.noteWrite(key, err)
		if err == nil {
			once()
		}
		time.Sleep(w.settings.pause)
	}
	once()
}

func (w *watcher) noteWrite(key string, err error) {
	at := time.Now().UnixNano()
	w.mutex.Lock()
	defer w.mutex.Unlock()
	var r *refusal
	switch {
	case err == nil:
		w.seen.Acknowledged = append(w.seen.Acknowledged, acknowledgement{key, at})
	case errors.As(err, &r) && r.status == http.StatusServiceUnavailable:
		w.seen.NotWritten++
	default:
		w.seen.Unknown++
	}
}

// read gets one key again and again, at the level of a read that names none; that there is no such key is an answer.
func (w *watcher) read(c *httpClient, target string, begun func()) {
	once := sync.OnceFunc(begun)
	for !w.stop.Load() {
		err := c.send(http.MethodGet, keyPath(keyName(0)), nil)
		w.noteRead(target, err)
		once()
		time.Sleep(w.settings.pause)
	}
}

func (w *watcher) noteRead(target string, err error) {
	at := time.Now().UnixNano()
	w.mutex.Lock()
	defer w.mutex.Unlock()
	var r *refusal
	if err == nil || (errors.As(err, &r) && r.status == http.StatusNotFound) {
		w.seen.Answered[target] = append(w.seen.Answered[target], at)
		return
	}
	w.seen.FailedReads++
	if w.seen.FirstFailure == "" {
		w.seen.FirstFailure = target + ": " + err.Error()
	}
}
