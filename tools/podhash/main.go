// Command podhash says how Kubernetes' own types write a pod template as JSON.
//
//	podhash fields   prints the table of fields that rollout/core/podtemplate.py holds
//	podhash hash     reads pod templates, one JSON object a line, and prints {"json", "hash"} or {"error"} for each
//
// The hash is the one that Argo Rollouts 1.10 names its ReplicaSets with: 32-bit FNV-1a over the JSON of the typed
// template, followed by the collision count as eight bytes when there is one, safe-encoded.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"os"
	"reflect"
	"runtime/debug"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/rand"
	kjson "sigs.k8s.io/json"
)

func main() {
	var err error
	switch mode := strings.Join(os.Args[1:], " "); mode {
	case "fields":
		fields()
	case "hash":
		err = hashes()
	default:
		err = fmt.Errorf("podhash fields | hash, not %q", mode)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "podhash:", err)
		os.Exit(1)
	}
}

// Types that write themselves.
var own = map[reflect.Type]string{
	reflect.TypeOf(resource.Quantity{}):  "quantity",
	reflect.TypeOf(intstr.IntOrString{}): "intstr",
	reflect.TypeOf(metav1.Time{}):        "time",
	reflect.TypeOf(metav1.FieldsV1{}):    "any",
}

func fields() {
	found := map[reflect.Type]string{}
	var visit func(reflect.Type) string
	visit = func(t reflect.Type) string {
		if name, ok := own[t]; ok {
			return name
		}
		marshaler := reflect.TypeOf((*json.Marshaler)(nil)).Elem()
		if t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(marshaler) {
			panic("a type that writes itself and is not known here: " + t.String())
		}
		switch t.Kind() {
		case reflect.Pointer:
			return "*" + visit(t.Elem())
		case reflect.Slice:
			if t.Elem().Kind() == reflect.Uint8 {
				panic("bytes are not known here: " + t.String())
			}
			return "[]" + visit(t.Elem())
		case reflect.Map:
			if t.Key().Kind() != reflect.String {
				panic("keys that are not strings: " + t.String())
			}
			return "{}" + visit(t.Elem())
		case reflect.Struct:
			if _, ok := found[t]; !ok {
				found[t] = ""
				found[t] = strings.Join(members(t, visit), " ")
			}
			return t.Name()
		case reflect.String, reflect.Bool, reflect.Int32, reflect.Int64:
			return t.Kind().String()
		}
		panic("not known here: " + t.String())
	}
	root := visit(reflect.TypeOf(corev1.PodTemplateSpec{}))
	var names []string
	for t, line := range found {
		names = append(names, t.Name()+": "+line)
	}
	sort.Strings(names)
	fmt.Printf("# %s\n# root %s\n%s\n", version(), root, strings.Join(names, "\n"))
}

// members are the fields of a struct in the order in which Go writes them: name, flags (! always written,
// ? left out when empty, 0 left out when zero) and type. What is embedded stands where it is embedded.
func members(t reflect.Type, visit func(reflect.Type) string) []string {
	var all []string
	for i := range t.NumField() {
		field := t.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" || !field.IsExported() {
			continue
		}
		if field.Anonymous && name == "" {
			all = append(all, members(field.Type, visit)...)
			continue
		}
		if name == "" {
			panic("a field without a name: " + t.Name() + "." + field.Name)
		}
		flag := "!"
		for _, option := range strings.Split(options, ",") {
			switch option {
			case "omitempty":
				if flag == "!" {
					flag = "?"
				}
			case "omitzero":
				flag = "0"
			case "", "inline":
			default:
				panic("option " + option + " is not known here")
			}
		}
		all = append(all, name+flag+visit(field.Type))
	}
	return all
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, dep := range info.Deps {
		if dep.Path == "k8s.io/api" {
			return dep.Path + " " + dep.Version
		}
	}
	return "k8s.io/api"
}

type asked struct {
	Template       json.RawMessage `json:"template"`
	CollisionCount *int32          `json:"collisionCount"`
}

func hashes() error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		if err := out.Encode(answer(lines.Bytes())); err != nil {
			return err
		}
	}
	return lines.Err()
}

func answer(line []byte) map[string]string {
	var question asked
	if err := json.Unmarshal(line, &question); err != nil {
		return map[string]string{"error": err.Error()}
	}
	var template corev1.PodTemplateSpec
	if err := kjson.UnmarshalCaseSensitivePreserveInts(question.Template, &template); err != nil {
		return map[string]string{"error": err.Error()}
	}
	text, err := json.Marshal(template)
	if err != nil {
		return map[string]string{"error": err.Error()}
	}
	hasher := fnv.New32a()
	hasher.Write(text)
	if question.CollisionCount != nil {
		count := make([]byte, 8)
		binary.LittleEndian.PutUint32(count, uint32(*question.CollisionCount))
		hasher.Write(count)
	}
	return map[string]string{"json": string(text), "hash": rand.SafeEncodeString(fmt.Sprint(hasher.Sum32()))}
}
