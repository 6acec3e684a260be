package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"cni.tuplenet/attach"
)

// needed are the keys without whose values nothing can be taken back, or too
// much would be. DEL and GC bear with mistakes in all others: an attachment that
// cannot be deleted keeps its address, and its container, for ever.
var needed = []string{"name", "rundir", "cni.dev/valid-attachments", "cni.dev/attachments",
	"etcd_cluster", "data_store_prefix", "etcd_cacert", "etcd_cert", "etcd_key", "etcd_user", "underlay", "underlay_bridge", "node"}

// decode reads the text of a configuration, each key for itself, so that a mistake
// in one leaves the others what they are. Keys are told apart as encoding/json
// does it, whatever their case.
func (c *Config) decode(text []byte) error {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(text, &given); err != nil {
		return attach.Errorf(attach.CodeDecode, "%s", undecodable(err.Error()))
	}
	var fatal, first string
	values := reflect.ValueOf(c).Elem()
	for _, key := range slices.Sorted(maps.Keys(given)) {
		name, field, ok := fieldOf(key)
		if !ok {
			c.unknown = append(c.unknown, key)
			continue
		}
		err := json.Unmarshal(given[key], values.FieldByIndex(field.Index).Addr().Interface())
		switch {
		case err == nil:
		case fatal == "" && slices.Contains(needed, name):
			fatal = mistake(name, err)
		case first == "":
			first = mistake(name, err)
		}
	}
	// By now the network's name is known.
	if fatal != "" {
		return attach.Errorf(attach.CodeDecode, "network %s: %s", c.Name, fatal)
	}
	if first != "" {
		c.mistake = attach.Errorf(attach.CodeDecode, "network %s: %s", c.Name, first)
	}
	return nil
}

// fieldOf returns the field of Config that a key is for, and how the key is
// written.
func fieldOf(key string) (string, reflect.StructField, bool) {
	for f := range reflect.TypeFor[Config]().Fields() {
		if name := f.Tag.Get("json"); f.IsExported() && strings.EqualFold(name, key) {
			return name, f, true
		}
	}
	return "", reflect.StructField{}, false
}

// mistake says what the value of a key should be, given what encoding/json says.
func mistake(key string, err error) string {
	is, want := err.Error(), "the result of another plugin" // which has addresses as well
	var e *json.UnmarshalTypeError
	at := key
	if errors.As(err, &e) {
		is, want = kind(e.Value), wanted(e.Type)
		if e.Field != "" {
			at += "." + e.Field
		}
	}
	if key == "routes" {
		want = `such as [{"dst": "10.96.0.0/12", "gw": "10.20.1.200"}], where gw may be missing`
	}
	return fmt.Sprintf("invalid %s: %s, want %s", at, is, want)
}

// kind says what encoding/json calls a value of JSON.
func kind(value string) string {
	switch value, number, _ := strings.Cut(value, " "); {
	case value == "array":
		return "a list"
	case value == "object":
		return "an object"
	case value == "bool":
		return "true or false"
	case number != "":
		return number
	default:
		return "a " + value
	}
}

// wanted says what a value has to be to become one of a type.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.Slice:
		return "a list"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	default:
		return "an object"
	}
}

// undecodable says why a configuration cannot be decoded, given what the library
// says of it, or encoding/json. The library looks at name and cniVersion alone.
func undecodable(cause string) string {
	for _, prefix := range []string{"error unmarshall network config: ", "decoding version from network config: "} {
		cause = strings.TrimPrefix(cause, prefix)
	}
	for _, key := range []string{"name", "cniVersion"} {
		if strings.Contains(cause, "."+key+" of type") {
			return fmt.Sprintf("the network configuration has an invalid %s, want a string", key)
		}
	}
	if strings.Contains(cause, "of type") || strings.Contains(cause, "Go value") {
		return "the network configuration is no JSON object, {...}"
	}
	return "the network configuration is no JSON: " + cause
}
