// exprdiff evaluates expressions with the expr-lang library, for comparison with rollout/core/expr.
//
// One JSON object a line on stdin ({"expr": "...", "env": {...}}), one a line on stdout: {"value": ...} with
// NaN and infinities as {"$float": "NaN"} and integral floats as {"$float": "1"}, or {"error": "..."}.
// Lists whose elements are all written with a decimal point arrive as []float64, as Argo's providers give them.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"reflect"
	"strconv"
	"strings"

	"github.com/expr-lang/expr"
)

type request struct {
	Expr string         `json:"expr"`
	Env  map[string]any `json:"env"`
}

func toGo(value any) any {
	switch v := value.(type) {
	case json.Number:
		if !strings.ContainsAny(v.String(), ".eE") {
			if n, err := strconv.Atoi(v.String()); err == nil {
				return n
			}
		}
		f, _ := v.Float64()
		return f
	case map[string]any:
		if text, ok := v["$float"]; ok {
			f, _ := strconv.ParseFloat(text.(string), 64)
			return f
		}
		out := map[string]any{}
		for key, item := range v {
			out[key] = toGo(item)
		}
		return out
	case []any:
		floats := make([]float64, 0, len(v))
		items := make([]any, 0, len(v))
		for _, item := range v {
			converted := toGo(item)
			items = append(items, converted)
			if f, ok := converted.(float64); ok {
				floats = append(floats, f)
			}
		}
		if len(floats) == len(items) && len(items) > 0 {
			return floats
		}
		return items
	}
	return value
}

func toJSON(value any) any {
	if value == nil {
		return nil
	}
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.Float32, reflect.Float64:
		return map[string]any{"$float": strconv.FormatFloat(v.Float(), 'g', -1, 64)}
	case reflect.Slice, reflect.Array:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = toJSON(v.Index(i).Interface())
		}
		return out
	case reflect.Map:
		out := map[string]any{}
		for _, key := range v.MapKeys() {
			out[fmt.Sprint(key.Interface())] = toJSON(v.MapIndex(key).Interface())
		}
		return out
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return v.Uint()
	case reflect.Bool:
		return v.Bool()
	case reflect.String:
		return v.String()
	}
	return fmt.Sprintf("%T %v", value, value)
}

func evaluate(r request) (answer map[string]any) {
	defer func() {
		if p := recover(); p != nil {
			answer = map[string]any{"error": fmt.Sprint(p)}
		}
	}()
	env := map[string]any{
		"isNaN": math.IsNaN,
		"isInf": func(f float64) bool { return math.IsInf(f, 0) },
	}
	for key, item := range r.Env {
		env[key] = toGo(item)
	}
	program, err := expr.Compile(r.Expr, expr.Env(env), expr.Optimize(false))
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	value, err := expr.Run(program, env)
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	return map[string]any{"value": toJSON(value)}
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<20), 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		var r request
		decoder := json.NewDecoder(strings.NewReader(in.Text()))
		decoder.UseNumber()
		answer := map[string]any{"error": "bad request"}
		if err := decoder.Decode(&r); err == nil {
			answer = evaluate(r)
		}
		line, err := json.Marshal(answer)
		if err != nil {
			line, _ = json.Marshal(map[string]any{"error": err.Error()})
		}
		out.Write(line)
		out.WriteByte('\n')
		out.Flush()
	}
}
