// Checks a history for linearizability, key by key, with Porcupine.
//
//	linearizable [-seconds N] [-drawings FOLDER] HISTORY
//
// It prints one JSON document, and exits with 0 whatever the verdict is: "linearizable", "violated" or "undecided". For
// each key that is not linearizable it says how far the longest explanation comes, and draws it into the folder.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

type failure struct {
	Key         string   `json:"key"`
	Verdict     string   `json:"verdict"`
	Explained   []string `json:"explained"`   // the end of the longest explanation
	Unexplained []string `json:"unexplained"` // the first operations that it can't take in
}

type report struct {
	Verdict    string    `json:"verdict"`
	Keys       int       `json:"keys"`
	Operations int       `json:"operations"`
	Failures   []failure `json:"failures"`
}

const shown = 8

func main() {
	seconds := flag.Float64("seconds", 60, "give up on a key after so long")
	drawings := flag.String("drawings", "", "the folder for a drawing of each key that is not linearizable")
	flag.Parse()
	if err := check(flag.Arg(0), time.Duration(*seconds*float64(time.Second)), *drawings); err != nil {
		fmt.Fprintln(os.Stderr, "linearizable:", err)
		os.Exit(1)
	}
}

func check(path string, limit time.Duration, drawings string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	keys, err := read(file)
	if err != nil {
		return err
	}
	result := report{Verdict: "linearizable", Keys: len(keys), Failures: []failure{}}
	for key, operations := range keys {
		result.Operations += len(operations)
		verdict, info := porcupine.CheckOperationsVerbose(register, operations, limit)
		if verdict == porcupine.Ok {
			continue
		}
		found := failure{Key: key, Verdict: "violated"}
		if verdict == porcupine.Unknown {
			found.Verdict = "undecided"
		}
		if result.Verdict != "violated" {
			result.Verdict = found.Verdict
		}
		found.Explained, found.Unexplained = explain(operations, info)
		result.Failures = append(result.Failures, found)
		if drawings != "" {
			if err := porcupine.VisualizePath(register, info, filepath.Join(drawings, key+".html")); err != nil {
				return err
			}
		}
	}
	slices.SortFunc(result.Failures, func(a, b failure) int { return len(a.Verdict+a.Key) - len(b.Verdict+b.Key) })
	return json.NewEncoder(os.Stdout).Encode(result)
}

// explain returns the end of the longest explanation that was found, and the first operations that are not in it.
func explain(operations []porcupine.Operation, info porcupine.LinearizationInfo) ([]string, []string) {
	var longest []int
	for _, partition := range info.PartialLinearizations() {
		for _, order := range partition {
			if len(order) > len(longest) {
				longest = order
			}
		}
	}
	var explained, unexplained []string
	for _, index := range longest[max(0, len(longest)-shown):] {
		explained = append(explained, line(operations[index]))
	}
	inside := map[int]bool{}
	for _, index := range longest {
		inside[index] = true
	}
	for index, operation := range operations {
		if !inside[index] && len(unexplained) < shown {
			unexplained = append(unexplained, line(operation))
		}
	}
	return explained, unexplained
}

func line(operation porcupine.Operation) string {
	end := "..."
	if operation.Output.(output).Known {
		end = fmt.Sprintf("%.6f", float64(operation.Return)/1e9)
	}
	return fmt.Sprintf("client %d, %.6f to %s: %s",
		operation.ClientId, float64(operation.Call)/1e9, end, describe(operation.Input, operation.Output))
}
