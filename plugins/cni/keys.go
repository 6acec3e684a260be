package cni

import (
	"maps"
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
func (c *Config) checkKeys() error {
	for _, key := range c.unknown {
		for f := range reflect.TypeFor[Config]().Fields() {
			k := f.Tag.Get("json")
			if len(k) >= minMistyped && !slices.Contains(common, k) && similar(plain(key), plain(k)) {
				return c.wrong("unknown key %q, did you mean %q?", key, k)
			}
		}
	}
	return nil
}

// annotations are those that we know.
var annotations = []string{AnnotationSwitch, AnnotationIP, AnnotationMAC}

// checkAnnotations refuses a pod's annotation that begins as ours do and is none
// of them. They belong to nobody else, so short ones are compared as well.
func (c *Config) checkAnnotations() error {
	for _, key := range slices.Sorted(maps.Keys(c.RuntimeConfig.Annotations)) {
		if !strings.HasPrefix(key, annotationPrefix) || slices.Contains(annotations, key) {
			continue
		}
		for _, a := range annotations {
			if similar(plain(key), plain(a)) {
				return c.wrong("unknown annotation %s of the pod, did you mean %s?", key, a)
			}
		}
		return c.wrong("unknown annotation %s of the pod, want one of %s", key, strings.Join(annotations, ", "))
	}
	return nil
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
