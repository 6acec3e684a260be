package modes

import (
	"path/filepath"
	"slices"
	"strings"

	cni "cni.tuplenet"
)

// Mode is what one process of the binary is. Its text is the subcommand that
// starts it, if there is one.
type Mode string

// The modes. ModeRoot is tuplenet itself: its help and its version. ModeUnknown
// is a subcommand that does not exist. ModePlugin is the CNI plugin, which
// container runtimes call, and ModeCNI is what people do about it.
const (
	ModeRoot       Mode = ""
	ModeUnknown    Mode = "unknown"
	ModeAgent      Mode = "agent"
	ModeGateway    Mode = "gateway"
	ModeEtcd       Mode = "etcd"
	ModeCtl        Mode = "ctl"
	ModeLab        Mode = "lab"
	ModeDoctor     Mode = "doctor"
	ModeCleanup    Mode = "cleanup"
	ModePlugin     Mode = "tpcni"
	ModeCNI        Mode = "cni"
	ModeCNM        Mode = "cnm"
	ModeVersion    Mode = "version"
	ModeCompletion Mode = "completion"
	ModeMan        Mode = "man"
)

// byName are the modes that the binary takes on under another name, but for the
// CNI plugin, see cni.Called.
var byName = map[string]Mode{
	"tpctl": ModeCtl,
	"tpcnm": ModeCNM,
}

// bySubcommand are the modes that a subcommand names.
var bySubcommand = []Mode{ModeAgent, ModeGateway, ModeEtcd, ModeCtl, ModeLab, ModeDoctor, ModeCleanup, ModeCNI, ModeCNM, ModeVersion, ModeCompletion, ModeMan}

// ofRoot are the first words that concern the binary as a whole. Any other
// flag there is one of the agent's.
var ofRoot = []string{"help", "-h", "-help", "--help", "-v", "-version", "--version"}

// Dispatch picks the mode for argv, as main received it, and the value of
// CNI_COMMAND. It returns the mode's own argv: the words that called it as one,
// for its help, then its arguments.
//
// The binary's name decides before its arguments, and those before
// CNI_COMMAND, which a container runtime may leave in the environment of what
// it starts.
func Dispatch(argv []string, cniCommand string) (Mode, []string) {
	if cni.Called(argv, cniCommand) {
		return ModePlugin, append([]string{string(ModePlugin)}, argv[1:]...)
	}
	name, args := "tuplenet", []string(nil)
	if len(argv) > 0 {
		args = argv[1:]
		called := filepath.Base(argv[0])
		if mode, ok := byName[called]; ok {
			return mode, append([]string{called}, args...)
		}
	}
	if len(args) > 1 && args[0] == "help" { // help lab is lab --help
		args = append(slices.Clone(args[1:]), "--help")
	}
	whole := append([]string{name}, args...)
	named := len(args) > 0 && (args[0] == "help" || !strings.HasPrefix(args[0], "-"))
	switch {
	case len(args) > 0 && slices.Contains(ofRoot, args[0]):
		return ModeRoot, whole
	case !named:
		return ModeAgent, whole
	}
	mode := Mode(args[0])
	if !slices.Contains(bySubcommand, mode) {
		return ModeUnknown, whole
	}
	return mode, append([]string{name + " " + args[0]}, args[1:]...)
}
