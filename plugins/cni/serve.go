package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
	"golang.org/x/sys/unix"

	"cni.tuplenet/attach"
)

// minVersion is the first version of the CNI specification that we support. The
// last one is the library's.
const minVersion = "0.3.0"

// about is told to a person who calls the plugin.
const about = "tpcni is TupleNet's CNI plugin, which container runtimes call; tuplenet cni install makes it known to them"

// call is one call of the plugin.
type call struct {
	version  string // of the configuration
	stdin    []byte
	underlay bool // the configuration is one for a host without an agent
}

// Serve carries out what the environment and standard input say, by the verbs
// given, whose errors are *attach.Error, and returns the exit status of the
// process. What the specification wants on standard output is written, but for
// the result of ADD, which is Add's to write (Config.WriteResult).
func Serve(verbs skel.CNIFuncs) int {
	c := &call{}
	return c.finish(c.run(verbs), os.Stdout)
}

// run carries out the call.
func (c *call) run(verbs skel.CNIFuncs) *types.Error {
	for _, verb := range []*func(*skel.CmdArgs) error{&verbs.Add, &verbs.Del, &verbs.Check, &verbs.GC, &verbs.Status} {
		do := *verb
		*verb = func(args *skel.CmdArgs) error {
			c.stdin = args.StdinData
			var of struct {
				Version string `json:"cniVersion"`
			}
			_ = json.Unmarshal(args.StdinData, &of) // the verb says what is wrong with it
			c.version = of.Version
			return asCNI(do(args))
		}
	}
	err := skel.PluginMainFuncsWithError(verbs, version.VersionsStartingFrom(minVersion), about)
	if err != nil && err.Code == types.ErrDecodingFailure && c.stdin == nil { // no verb was called
		err.Msg = undecodable(err.Msg)
	}
	return err
}

// asCNI returns an error of ours as the library has it.
func asCNI(err error) error {
	if err == nil {
		return nil
	}
	if all, ok := err.(interface{ Unwrap() []error }); ok && len(all.Unwrap()) == 1 {
		err = all.Unwrap()[0]
	}
	var e *attach.Error
	switch {
	case !errors.As(err, &e):
		return types.NewError(types.ErrInternal, err.Error(), "")
	case err == error(e):
		return types.NewError(uint(e.Code), e.Msg, e.Details)
	}
	return types.NewError(uint(e.Code), strings.ReplaceAll(err.Error(), "\n", "; "), "") // several
}

// finish writes an error as the specification wants it, and returns the exit
// status.
func (c *call) finish(err *types.Error, stdout io.Writer) int {
	if err == nil {
		return 0
	}
	if c.version == "" {
		c.version = types100.ImplementedSpecVersion
	}
	answer := struct {
		Version string `json:"cniVersion"`
		*types.Error
	}{c.version, err}
	encoder := json.NewEncoder(stdout)
	encoder.SetIndent("", "    ")
	encoder.SetEscapeHTML(false)
	if failed := encoder.Encode(answer); failed != nil {
		fmt.Fprintf(os.Stderr, "tpcni: %s (standard output cannot be written: %s)\n", err, failed)
	}
	return 1
}

// unlessUnderlay returns verbs that do nothing for an underlay's configuration
// but to note that it is one.
func (c *call) unlessUnderlay(verbs skel.CNIFuncs) skel.CNIFuncs {
	for _, verb := range []*func(*skel.CmdArgs) error{&verbs.Add, &verbs.Del, &verbs.Check, &verbs.GC, &verbs.Status} {
		do := *verb
		*verb = func(args *skel.CmdArgs) error {
			if cfg, err := ParseConfig(args.StdinData); err == nil && cfg.IsUnderlay() {
				c.underlay = true
				return nil
			}
			return do(args)
		}
	}
	return verbs
}

// giveBack makes standard input what it was before it was read.
func (c *call) giveBack() *types.Error {
	fd, err := unix.MemfdCreate("stdin", unix.MFD_CLOEXEC)
	if err == nil {
		os.Stdin = os.NewFile(uintptr(fd), "/dev/stdin")
		if _, err = os.Stdin.Write(c.stdin); err == nil {
			_, err = os.Stdin.Seek(0, io.SeekStart)
		}
	}
	if err != nil {
		return types.NewError(types.ErrIOFailure, fmt.Sprintf("keep the network configuration: %s", err), "")
	}
	return nil
}
