package cni

import (
	"path/filepath"
	"slices"
	"strings"
)

// Called reports whether a process with these arguments, and this value of
// CNI_COMMAND, was called as the CNI plugin: under its name, or by a container
// runtime and not for one of the modes that an argument names. (A runtime may
// leave CNI_COMMAND in the environment of what it starts.)
func Called(argv []string, command string) bool {
	if len(argv) == 0 {
		return false
	}
	switch filepath.Base(argv[0]) {
	case "tpcni":
		return true
	case "tpctl", "tpcnm":
		return false
	}
	named := len(argv) > 1 && (argv[1] == "help" || !strings.HasPrefix(argv[1], "-"))
	return command != "" && !named && !slices.Contains(argv[1:], "--help")
}
