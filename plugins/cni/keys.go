package cni

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// minMistyped is how long a key has to be for a similar one to be taken for a
// slip: short words are similar to too many.
const minMistyped = 5

// common are keys that are not ours alone. What is similar to them may be a key
// of the specification or of a runtime: cniVersions is one.
var common = []string{"cniVersion", "name", "type", "dns", "ipam", "runtimeConfig", "args", "prevResult", "cni.dev/valid-attachments", "cni.dev/attachments"}

// checkKeys refuses a key that looks like one of ours mistyped, as what it says
// would have no effect. Other keys are the runtimes' and are ignored.
func (c *Config) checkKeys(text []byte) error {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(text, &given); err != nil {
		return c.wrong("no object: %s", err)
	}
	ours := keys()
	for key := range given {
		if slices.ContainsFunc(ours, func(k string) bool { return strings.EqualFold(k, key) }) {
			continue
		}
		for _, k := range ours {
			if len(k) >= minMistyped && !slices.Contains(common, k) && similar(plain(key), plain(k)) {
				return c.wrong("unknown key %q, did you mean %q?", key, k)
			}
		}
	}
	return nil
}

// keys returns those of Config.
func keys() []string {
	var names []string
	for f := range reflect.TypeFor[Config]().Fields() {
		names = append(names, f.Tag.Get("json"))
	}
	return names
}

// plain returns a key without what people write in different ways.
func plain(key string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(key))
}

// similar reports whether a can be made b by adding, dropping or changing no
// more than one byte.
func similar(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] {
			return a[i:] == b[i+1:] || len(a) == len(b) && a[i+1:] == b[i+1:]
		}
	}
	return true
}
