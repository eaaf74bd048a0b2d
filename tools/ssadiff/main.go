// ssadiff answers with Kubernetes' own field manager, for comparison with rollout/sandbox/schema/apply.py.
//
// One JSON object a line on stdin, one a line on stdout:
//
//	{"op": "apply", "live": OBJECT|null, "object": OBJECT, "manager": "x", "force": false, "subresource": ""}
//	{"op": "update", ...}
//	{"op": "normal", "object": OBJECT}
//
// are answered with {"object": OBJECT} (a round trip through the kind's Go type) or
// {"error": "...", "reason": "Conflict", "fields": [".spec.replicas"]}. Time stands still: every entry has one time.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
)

type request struct {
	Op          string         `json:"op"`
	Live        map[string]any `json:"live"`
	Object      map[string]any `json:"object"`
	Manager     string         `json:"manager"`
	Force       bool           `json:"force"`
	Subresource string         `json:"subresource"`
}

type answer struct {
	Object any      `json:"object,omitempty"`
	Error  string   `json:"error,omitempty"`
	Reason string   `json:"reason,omitempty"`
	Fields []string `json:"fields,omitempty"`
}

type key struct {
	kind        schema.GroupVersionKind
	subresource string
}

var (
	converter = applyconfigurations.NewTypeConverter(scheme.Scheme)
	managers  = map[key]*managedfields.FieldManager{}
)

func managerOf(kind schema.GroupVersionKind, subresource string) (*managedfields.FieldManager, error) {
	at := key{kind, subresource}
	if found, ok := managers[at]; ok {
		return found, nil
	}
	made, err := managedfields.NewDefaultFieldManager(
		converter, scheme.Scheme, scheme.Scheme, scheme.Scheme, kind, kind.GroupVersion(), subresource, nil)
	if err == nil {
		managers[at] = made
	}
	return made, err
}

// typed makes an object of the kind's Go type, an empty one of nil.
func typed(kind schema.GroupVersionKind, fields map[string]any) (runtime.Object, error) {
	obj, err := scheme.Scheme.New(kind)
	if err != nil {
		return nil, err
	}
	if fields != nil {
		data, err := json.Marshal(fields)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(data, obj); err != nil {
			return nil, err
		}
	}
	obj.GetObjectKind().SetGroupVersionKind(kind)
	return obj, nil
}

func result(asked request) (runtime.Object, error) {
	kind := (&unstructured.Unstructured{Object: asked.Object}).GroupVersionKind()
	if asked.Op == "normal" {
		return typed(kind, asked.Object)
	}
	manager, err := managerOf(kind, asked.Subresource)
	if err != nil {
		return nil, err
	}
	live, err := typed(kind, asked.Live)
	if err != nil {
		return nil, err
	}
	if asked.Op == "apply" {
		return manager.Apply(live, &unstructured.Unstructured{Object: asked.Object}, asked.Manager, asked.Force)
	}
	updated, err := typed(kind, asked.Object)
	if err != nil {
		return nil, err
	}
	return manager.Update(live, updated, asked.Manager)
}

func respond(line []byte) (said answer) {
	defer func() {
		if problem := recover(); problem != nil {
			said = answer{Error: fmt.Sprint(problem), Reason: "panic"}
		}
	}()
	var asked request
	if err := json.Unmarshal(line, &asked); err != nil {
		return answer{Error: err.Error(), Reason: "request"}
	}
	obj, err := result(asked)
	if err == nil {
		return answer{Object: obj}
	}
	said = answer{Error: err.Error(), Reason: string(errors.ReasonForError(err))}
	if status, ok := err.(errors.APIStatus); ok && status.Status().Details != nil {
		for _, cause := range status.Status().Details.Causes {
			if cause.Type == metav1.CauseTypeFieldManagerConflict {
				said.Fields = append(said.Fields, cause.Message+": "+cause.Field)
			}
		}
	}
	return said
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<20), 1<<26)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		if err := out.Encode(respond(in.Bytes())); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
