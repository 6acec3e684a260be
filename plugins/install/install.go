package install

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
)

const (
	pluginName = "tpcni"
	// fileName begins as such names do: runtimes take the network whose file
	// comes first.
	fileName = "10-tuplenet.conflist"
)

// Config says what to install, and where.
type Config struct {
	BinDir     string  // of the plugins: /opt/cni/bin
	ConfDir    string  // of the networks: /etc/cni/net.d
	Executable string  // absolute path of the binary that the plugin is
	Network    Network // Uninstall needs none
	Force      bool    // replace, or remove, what is not ours, was changed or is in use
	DryRun     bool    // say what would be done, and do nothing

	// Attached are the devices of containers that the plugin has attached here,
	// as Attached returns them; for Uninstall.
	Attached []string
}

// Report is what was done, or would be, and what the caller should know, a
// sentence each. On what would be written its text follows, or its difference
// from what is there.
type Report struct {
	Done  []string
	Notes []string
}

// Difference is the error that there is a configuration which says something
// else.
type Difference struct {
	Path string
	Text string // what is there (-) and what would be written (+), as diff -u has it
}

func (d *Difference) Error() string {
	return fmt.Sprintf("%s is there and says something else; nothing was done, --force replaces it", d.Path)
}

// step is one thing to do.
type step struct {
	says  string // a participle and its object: "removed FILE"
	do    func() error
	shows string // what a dry run shows of it
}

// unchanged is the step where nothing has to be done.
func unchanged(path string) step {
	return step{says: "left " + path + " as it is", do: func() error { return nil }}
}

// run does the steps, but for a dry run, and adds them to the report.
func (r *Report) run(steps []step, dry bool) error {
	for _, s := range steps {
		if dry {
			r.Done = append(r.Done, "would have "+s.says)
			if s.shows != "" {
				r.Done = append(r.Done, s.shows)
			}
			continue
		}
		if err := s.do(); err != nil {
			return fmt.Errorf("not %s: %w (--bin-dir and --conf-dir name other directories)", s.says, err)
		}
		r.Done = append(r.Done, s.says)
	}
	return nil
}

// Install links the plugin and writes the network's configuration.
func Install(ctx context.Context, cfg Config) (Report, error) {
	var r Report
	if err := cfg.Network.check(); err != nil {
		return r, err
	}
	link, err := cfg.linkStep()
	if err != nil {
		return r, err
	}
	text, notes, err := cfg.Network.configuration(ctx, cfg.BinDir)
	if err != nil {
		return r, err
	}
	write, err := cfg.writeStep(text)
	if err != nil {
		return r, err
	}
	r.Notes = slices.Concat(notes, cfg.Network.missing(), cfg.neighbours())
	return r, r.run([]step{link, write}, cfg.DryRun)
}

// Uninstall removes the link and the network's configuration.
func Uninstall(cfg Config) (Report, error) {
	var r Report
	var steps []step
	// The configuration goes first: a runtime must not find a network whose
	// plugin is missing.
	file, link := filepath.Join(cfg.ConfDir, fileName), filepath.Join(cfg.BinDir, pluginName)
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return r, fmt.Errorf("read the network's configuration: %w", err)
	case !cfg.Force && !ofOurs(text):
		return r, fmt.Errorf("%s is no configuration of %s; nothing was done, --force removes it", file, pluginName)
	default:
		steps = append(steps, step{says: "removed " + file, do: func() error { return os.Remove(file) }})
	}
	switch is, err := cfg.inspect(link); {
	case err != nil:
		return r, err
	case is == absent:
	case is == foreign && !cfg.Force:
		return r, fmt.Errorf("%s is not a link to tuplenet; nothing was done, --force removes it", link)
	default:
		steps = append(steps, step{says: "removed " + link, do: func() error { return os.Remove(link) }})
	}
	if len(cfg.Attached) > 0 && len(steps) > 0 {
		inUse := fmt.Sprintf("containers on this host use the plugin (%s) and cannot be deleted without it", some(cfg.Attached))
		if !cfg.Force {
			return r, fmt.Errorf("%s: delete them first, in Kubernetes by kubectl drain; nothing was done, --force removes the plugin all the same", inUse)
		}
		r.Notes = []string{inUse}
	}
	return r, r.run(steps, cfg.DryRun)
}

// some names the first of many.
func some(names []string) string {
	const shown = 3
	if n := len(names); n > shown {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), n-shown)
	}
	return strings.Join(names, ", ")
}

// device is the form of the names of hosts' ends, see attach.ID.Device.
var device = regexp.MustCompile(`^tp[0-9a-f]{13}$`)

// Attached returns the devices of containers that the plugin has attached on
// this host. VLAN devices, of a host on a logical port, are not among them: they
// have no end here.
func Attached() (names []string, err error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list the devices of this host: %w", err)
	}
	for _, d := range all {
		if device.MatchString(d.Name) {
			names = append(names, d.Name)
		}
	}
	return names, nil
}

// ofOurs reports whether text is the configuration of a network of ours.
func ofOurs(text []byte) bool {
	var l list
	return json.Unmarshal(text, &l) == nil && slices.ContainsFunc(l.Plugins, func(p plugin) bool { return p.Type == pluginName })
}

// found is what is at the place of the plugin.
type found int

const (
	absent  found = iota
	current       // this binary
	older         // a link to a binary of this name, there or not
	foreign
)

func (c *Config) inspect(path string) (found, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return absent, nil
	}
	if err != nil {
		return foreign, fmt.Errorf("look at the plugin: %w", err)
	}
	if target, err := os.Stat(path); err == nil {
		if own, err := os.Stat(c.Executable); err == nil && os.SameFile(own, target) {
			return current, nil
		}
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		return foreign, nil
	}
	target, err := os.Readlink(path)
	if err != nil {
		return foreign, fmt.Errorf("look at the plugin: %w", err)
	}
	if name := filepath.Base(target); name == "tuplenet" || name == pluginName {
		return older, nil
	}
	return foreign, nil
}

func (c *Config) linkStep() (step, error) {
	path := filepath.Join(c.BinDir, pluginName)
	is, err := c.inspect(path)
	switch {
	case err != nil:
		return step{}, err
	case is == current:
		return unchanged(path), nil
	case is == foreign && !c.Force:
		return step{}, fmt.Errorf("%s is there and not a link to tuplenet; nothing was done, --force replaces it", path)
	}
	return step{says: fmt.Sprintf("linked %s to %s", path, c.Executable), do: func() error {
		return replace(path, func(temporary string) error { return os.Symlink(c.Executable, temporary) })
	}}, nil
}

func (c *Config) writeStep(text []byte) (step, error) {
	path := filepath.Join(c.ConfDir, fileName)
	has, err := os.ReadFile(path)
	shows := string(text)
	if err == nil {
		shows = string(diff.Diff(path, has, path+" (new)", text))
	}
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return step{}, fmt.Errorf("read the network's configuration: %w", err)
	case err == nil && bytes.Equal(has, text):
		return unchanged(path), nil
	case err == nil && !c.Force:
		return step{}, &Difference{path, shows}
	}
	mode := fs.FileMode(0o644)
	if c.Network.User != "" { // with the password
		mode = 0o600
	}
	return step{says: "written " + path, shows: strings.TrimSuffix(shows, "\n"), do: func() error {
		return replace(path, func(temporary string) error { return writeSynced(temporary, text, mode) })
	}}, nil
}

// replace makes a file under a name that no runtime reads, and then gives it
// its own.
func replace(path string, make func(temporary string) error) error {
	dir, name := filepath.Split(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	temporary := filepath.Join(dir, "."+name+".new")
	_ = os.Remove(temporary) // of an installation that was killed
	err := make(temporary)
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		_ = os.Remove(temporary)
	}
	return err
}

// writeSynced writes a file that is whole after a crash, too.
func writeSynced(path string, text []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// neighbours says what else in the directories concerns the network.
func (c *Config) neighbours() (notes []string) {
	entries, _ := os.ReadDir(c.ConfDir) // sorted; it need not exist yet
	for _, e := range entries {
		ext, path := filepath.Ext(e.Name()), filepath.Join(c.ConfDir, e.Name())
		if e.Name() == fileName || !slices.Contains([]string{".conf", ".conflist", ".json"}, ext) {
			continue
		}
		var other struct {
			Name string `json:"name"`
		}
		if text, err := os.ReadFile(path); err == nil && json.Unmarshal(text, &other) == nil && other.Name == c.Network.Name {
			notes = append(notes, fmt.Sprintf("%s has a network of the name %s, too: remove one of them", path, other.Name))
		}
		if e.Name() < fileName {
			notes = append(notes, fmt.Sprintf("%s comes first: Kubernetes' runtimes take that network until it is gone, or renamed", path))
		}
	}
	if _, err := os.Stat(filepath.Join(c.BinDir, "loopback")); errors.Is(err, fs.ErrNotExist) {
		notes = append(notes, fmt.Sprintf("%s has no plugin loopback, without which containerd starts no pod (Debian's containernetworking-plugins has it, in /usr/lib/cni)", c.BinDir))
	}
	return notes
}
