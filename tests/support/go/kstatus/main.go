// Kstatus says of Kubernetes objects what kstatus computes, which helm and GitOps tools wait by.
//
// It reads objects from its standard input, a JSON object each, and prints for each one a line of JSON: its status
// ("Current", "InProgress", "Failed", "Terminating", "NotFound" or "Unknown") and the message beside it.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// answer is a line of the output.
type answer struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func main() {
	if err := tell(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "kstatus:", err)
		os.Exit(1)
	}
}

// tell answers for every object until the input ends.
func tell(input io.Reader, output io.Writer) error {
	objects, answers := json.NewDecoder(input), json.NewEncoder(output)
	for {
		// The library wants numbers as unstructured.Unstructured decodes them: int64 where they are whole.
		var raw json.RawMessage
		if err := objects.Decode(&raw); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var object unstructured.Unstructured
		if err := object.UnmarshalJSON(raw); err != nil {
			return err
		}
		result, err := status.Compute(&object)
		if err != nil {
			return err
		}
		if err := answers.Encode(answer{result.Status.String(), result.Message}); err != nil {
			return err
		}
	}
}
