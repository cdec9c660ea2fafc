package main

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// none stands for a version that nobody has told: versions are offsets, so none is below all of them.
const none int64 = -1

// input is what a client asked for.
type input struct {
	Kind      string // put, delete or get
	Value     string // of a put; each put of a run has a value of its own
	Condition string // "", "absent" or "version"
	Expected  int64  // of the condition "version"
}

// output is what became of it.
type output struct {
	Known   bool   // false: it may have happened, at any time from the call on, or never
	Held    bool   // the condition held; true where there was none
	Present bool   // the key was there: of a read, and of a condition that failed
	Version int64  // of the record written, or seen; none where it was not told
	Value   string // of a read
}

// state is one key: a register with versions.
//
// A write whose answer was lost leaves a version that nobody knows; whoever sees the key next binds it. Version is none
// until then, and Floor the highest version that is known to lie below.
type state struct {
	Present bool
	Value   string
	Version int64
	Floor   int64
}

// see binds the version of the present record to the one that somebody saw; false when it can't be that one.
func (s state) see(version int64) (state, bool) {
	if s.Version == version {
		return s, true
	}
	if s.Version != none || version <= s.Floor {
		return s, false
	}
	s.Version, s.Floor = version, version
	return s, true
}

// admit is the state in which the condition holds, bound as it must be; false when it does not hold.
func (s state) admit(in input) (state, bool) {
	switch in.Condition {
	case "absent":
		return s, !s.Present
	case "version":
		if !s.Present {
			return s, false
		}
		return s.see(in.Expected)
	}
	return s, true
}

// write is the state after a put or a delete; false when its version does not lie above those before it.
func (s state) write(in input, version int64) (state, bool) {
	after := state{in.Kind == "put", in.Value, version, version}
	if version == none {
		after.Floor = s.Floor
		return after, true
	}
	return after, version > s.Floor
}

// observe is the state as a read, or a condition that failed, has seen it; false when it was another.
func (s state) observe(out output) (state, bool) {
	if !out.Present || !s.Present {
		return s, out.Present == s.Present
	}
	return s.see(out.Version)
}

func step(from, asked, became any) (bool, any) {
	s, in, out := from.(state), asked.(input), became.(output)
	switch {
	case in.Kind == "get":
		after, ok := s.observe(out)
		return ok && (!out.Present || s.Value == out.Value), after
	case !out.Known:
		// Where the condition does not hold nothing happens. An operation that never happened comes last of all.
		admitted, holds := s.admit(in)
		if !holds {
			return true, s
		}
		after, _ := admitted.write(in, none)
		return true, after
	case !out.Held:
		after, ok := s.observe(out)
		_, holds := after.admit(in)
		return ok && !holds, after
	}
	admitted, holds := s.admit(in)
	after, rises := admitted.write(in, out.Version)
	return holds && rises, after
}

func describe(asked, became any) string {
	in, out := asked.(input), became.(output)
	call := in.Kind
	if in.Kind == "put" {
		call += " " + in.Value
	}
	switch in.Condition {
	case "absent":
		call += " if absent"
	case "version":
		call += fmt.Sprintf(" if %d", in.Expected)
	}
	switch {
	case !out.Known:
		return call + " -> unknown"
	case in.Kind == "get" && out.Present:
		return fmt.Sprintf("%s -> %s at %d", call, out.Value, out.Version)
	case in.Kind == "get":
		return call + " -> absent"
	case !out.Held && out.Present:
		return fmt.Sprintf("%s -> refused at %d", call, out.Version)
	case !out.Held:
		return call + " -> refused, absent"
	}
	return fmt.Sprintf("%s -> %d", call, out.Version)
}

// register is the model of one key.
var register = porcupine.Model{
	Init:              func() any { return state{Version: none, Floor: none} },
	Step:              step,
	DescribeOperation: describe,
	DescribeState:     func(s any) string { return fmt.Sprintf("%+v", s) },
}
