package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/anishathalye/porcupine"
)

// event is one line of a history; tests/chaos/history.py says what the fields mean.
type event struct {
	Event     string `json:"event"`
	Operation int    `json:"operation"`
	Process   int    `json:"process"`
	At        int64  `json:"at"`
	Kind      string `json:"kind"`
	Key       string `json:"key"`
	Value     string `json:"value"`
	Condition string `json:"condition"`
	Expected  *int64 `json:"expected"`
	Level     string `json:"level"`
	Held      *bool  `json:"held"`
	Version   *int64 `json:"version"`
}

func orNone(version *int64) int64 {
	if version == nil {
		return none
	}
	return *version
}

// read returns the operations of each key that the linearizable register has to explain: all writes but those that
// surely never happened, and the linearizable reads that were answered. Values seen at weaker levels only tell versions.
func read(lines io.Reader) (map[string][]porcupine.Operation, error) {
	open := map[int]event{}
	keys := map[string]*keyHistory{}
	scanner := bufio.NewScanner(lines)
	scanner.Buffer(nil, 1<<20)
	for number := 1; scanner.Scan(); number++ {
		var e event
		if err := json.Unmarshal(scanner.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		switch e.Event {
		case "invoke":
			open[e.Operation] = e
		case "ok", "info", "fail":
			invoked, known := open[e.Operation]
			if !known {
				return nil, fmt.Errorf("line %d: operation %d was not invoked", number, e.Operation)
			}
			delete(open, e.Operation)
			of(keys, invoked.Key).add(invoked, e)
		}
	}
	for _, invoked := range open { // under way when the history ended
		of(keys, invoked.Key).add(invoked, event{Event: "info"})
	}
	operations := map[string][]porcupine.Operation{}
	for key, history := range keys {
		operations[key] = history.resolve()
	}
	return operations, scanner.Err()
}

func of(keys map[string]*keyHistory, key string) *keyHistory {
	if keys[key] == nil {
		keys[key] = &keyHistory{versions: map[string]int64{}, seenBy: map[string]int64{}}
	}
	return keys[key]
}

// keyHistory gathers what is known of one key.
type keyHistory struct {
	operations []porcupine.Operation
	versions   map[string]int64 // of each value, as far as anybody was told
	seenBy     map[string]int64 // when the first linearizable read of each value had been answered
	refusals   []int64          // the versions that conditions failed on
}

func (k *keyHistory) add(invoked, ended event) {
	in := input{invoked.Kind, invoked.Value, invoked.Condition, orNone(invoked.Expected)}
	out := output{Known: ended.Event == "ok", Held: true, Version: orNone(ended.Version)}
	returned := ended.At
	switch {
	case ended.Event == "fail":
		return
	case invoked.Kind == "get":
		if !out.Known {
			return
		}
		out.Present, out.Value = ended.Version != nil, ended.Value
		if out.Present {
			k.versions[out.Value] = out.Version
		}
		if invoked.Level != "linearizable" {
			return
		}
		if before, seen := k.seenBy[out.Value]; out.Present && (!seen || returned < before) {
			k.seenBy[out.Value] = returned
		}
	case !out.Known:
		returned = math.MaxInt64
	case ended.Held != nil && !*ended.Held:
		out.Held, out.Present = false, ended.Version != nil
		if out.Present {
			k.refusals = append(k.refusals, out.Version)
		}
	case invoked.Kind == "put":
		k.versions[invoked.Value] = out.Version
	}
	k.operations = append(k.operations, porcupine.Operation{
		ClientId: invoked.Process, Input: in, Call: invoked.At, Output: out, Return: returned,
	})
}

// resolve settles what it can of the puts whose answer was lost, since each of them that stays open may double the
// search. A value that somebody has seen was written, with the version that was seen, and before any linearizable read
// that saw it returned. One that nobody has seen, neither by value nor by a version that nobody can name, makes no
// difference to any answer and is left out.
func (k *keyHistory) resolve() []porcupine.Operation {
	told := map[int64]bool{}
	for _, version := range k.versions {
		told[version] = true
	}
	unnamed := slices.ContainsFunc(k.refusals, func(version int64) bool { return !told[version] })
	var kept []porcupine.Operation
	for _, operation := range k.operations {
		in, out := operation.Input.(input), operation.Output.(output)
		if in.Kind == "put" && !out.Known {
			version, seen := k.versions[in.Value]
			if !seen && !unnamed {
				continue
			}
			if seen {
				out.Known, out.Version = true, version
				operation.Output = out
			}
			if at, seen := k.seenBy[in.Value]; seen {
				operation.Return = max(at, operation.Call)
			}
		}
		kept = append(kept, operation)
	}
	return kept
}
