package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"

	"tuplenet/internal/ovs"
	"tuplenet/plugins/cnm"
)

// Docker tells whether tpcnm, the plugin for Docker, can do its work with the
// configuration in a file, and an Open vSwitch whose sockets are in a directory. It
// takes some seconds when those hang that it asks.
func Docker(ctx context.Context, file, ovsRunDir string) []Finding {
	cfg, err := cnm.ReadConfig(file)
	if err != nil {
		return of("configuration", unreadable(err))
	}
	var below []Finding
	var both sync.WaitGroup
	both.Go(func() { below = checkOVS(ctx, &Env{OVS: ovs.Config{RunDir: ovsRunDir, Bridge: cnm.Bridge(cfg)}}) })
	found := append(of("configuration", good("", "%s can be used", file)), checkPlugin(ctx, cfg)...)
	both.Wait()
	return append(found, of("Open vSwitch", below...)...)
}

// of makes findings those of a check.
func of(check string, found ...Finding) []Finding {
	for i := range found {
		found[i].Check = check
	}
	return found
}

// unreadable is what is found of a configuration that cannot be used.
func unreadable(err error) Finding {
	remedy := "mend it: docs/docker.md tells all that may be in it"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		remedy = "write it, see docs/docker.md, or name another one"
	case errors.Is(err, fs.ErrPermission):
		remedy = "run it as root"
	}
	return bad("", err.Error(), remedy)
}

// checkPlugin is what the plugin finds of those that it works with.
func checkPlugin(ctx context.Context, cfg cnm.Config) (found []Finding) {
	for _, f := range cnm.Check(ctx, cfg) {
		found = append(found, Finding{Check: f.Check, OK: f.OK, Note: f.Note, Subject: f.Subject, Text: f.Text, Remedy: f.Remedy})
	}
	return found
}

// dockerSocket is where Docker looks for the plugin tuplenet.
const dockerSocket = "/run/docker/plugins/tuplenet.sock"

// checkDocker tells in short whether Docker's networks work on a host that has the
// plugin's configuration in file, or its socket. A configuration for another agent,
// which has another run directory, or on a host without Docker says nothing.
func checkDocker(ctx context.Context, file, socket, runDir string) []Finding {
	const subject = "of Docker"
	cfg, err := cnm.ReadConfig(file)
	if errors.Is(err, fs.ErrNotExist) {
		if !exists(socket) {
			return nil
		}
		return []Finding{note(subject, "the plugin tpcnm was started with another configuration than "+file, "see what it finds: tpcnm --config FILE --check")}
	}
	if err != nil {
		f := unreadable(err)
		f.Subject = subject
		return []Finding{f}
	}
	if !sameDir(cfg.RunDir, runDir) || !exists(cfg.Socket) && !exists(cfg.DockerSocket) {
		return nil
	}
	var found []Finding
	for _, f := range checkPlugin(ctx, cfg) {
		if f.OK && !f.Note {
			continue
		}
		what := f.Check
		if f.Subject != "" {
			what += " " + f.Subject
		}
		f.Check, f.Subject, f.Text = "", subject, what+": "+f.Text
		found = append(found, f)
	}
	if len(found) == 0 {
		return []Finding{good(subject, "the plugin tpcnm works with the configuration %s", file)}
	}
	return found
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func sameDir(a, b string) bool {
	in, err := os.Stat(a)
	if err != nil {
		return a == b
	}
	of, err := os.Stat(b)
	return err == nil && os.SameFile(in, of)
}
