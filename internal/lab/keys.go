package lab

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"tuplenet/internal/suggest"
)

// checkKeys says which key of a YAML document the type of v has no field for,
// and which one was probably meant.
func checkKeys(data []byte, v any) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return fmt.Errorf("not a lab file: %w", err)
	}
	if len(doc.Content) == 0 {
		return fmt.Errorf("the lab file is empty")
	}
	return checkNode(doc.Content[0], reflect.TypeOf(v).Elem())
}

func checkNode(n *yaml.Node, t reflect.Type) error {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case n.Kind == yaml.SequenceNode && t.Kind() == reflect.Slice:
		for _, item := range n.Content {
			if err := checkNode(item, t.Elem()); err != nil {
				return err
			}
		}
	case n.Kind == yaml.MappingNode && t.Kind() == reflect.Struct:
		fields, names := keysOf(t)
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i]
			field, ok := fields[key.Value]
			if !ok {
				return fmt.Errorf("line %d: unknown key %q%s", key.Line, key.Value, suggest.Among(key.Value, names))
			}
			if err := checkNode(n.Content[i+1], field); err != nil {
				return err
			}
		}
	}
	return nil // a wrong kind of node is for the decoder to report
}

// keysOf returns the YAML keys of a struct, as a set and in order.
func keysOf(t reflect.Type) (map[string]reflect.Type, []string) {
	fields := make(map[string]reflect.Type, t.NumField())
	var names []string
	for f := range t.Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); name != "-" {
			fields[name] = f.Type
			names = append(names, name)
		}
	}
	return fields, names
}
