package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	cni "cni.tuplenet"
	"cni.tuplenet/attach"

	"tuplenet/internal/agent"
	"tuplenet/plugins/cnm"
)

// Where container runtimes look for networks and for plugins, unless they are
// told otherwise.
const networkDir = "/etc/cni/net.d"

var pluginDirs = []string{"/opt/cni/bin", "/usr/lib/cni"}

// checkContainers tells whether containers can be attached on this host, by the
// agent, to the networks that are configured here, and by Docker.
func checkContainers(ctx context.Context, env *Env) []Finding {
	return append(checkAttach(env), checkDocker(ctx, cnm.DefaultConfig, dockerSocket, env.RunDir)...)
}

// checkAttach asks the agent, if there is one, and looks at CNI's networks.
func checkAttach(env *Env) []Finding {
	pid, err := agent.RunningIn(env.RunDir)
	if err != nil || pid == 0 {
		return nil
	}
	client, err := attach.Dial(env.RunDir)
	if err != nil {
		return []Finding{bad("", "the agent attaches none: nobody answers at "+filepath.Join(env.RunDir, attach.SocketName),
			"see its log: it may wait for etcd or Open vSwitch; if it is of an earlier version, start it anew")}
	}
	defer client.Close(0)
	if _, err := client.Ask(attach.Request{Op: attach.Status}, env.Wait); err != nil {
		return []Finding{bad("", "none can be attached now: "+err.Error(), "see what else is bad")}
	}
	found := []Finding{good("", "the agent attaches them by %s", filepath.Join(env.RunDir, attach.SocketName))}
	return append(found, checkNetworks(env, networkDir, pluginDirs)...)
}

// checkNetworks looks at the configurations in a directory that are for our
// plugin.
func checkNetworks(env *Env, dir string, plugins []string) (found []Finding) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return []Finding{note("", err.Error(), "run it as root")}
	}
	for _, entry := range entries {
		if !slices.Contains([]string{".conf", ".conflist", ".json"}, filepath.Ext(entry.Name())) {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), `"tpcni"`) {
			continue
		}
		f := good(path, "is a network that containers can be attached to")
		if err := networkWorks(env, text); err != nil {
			f = bad(path, "no container can be attached to this network: "+err.Error(), "mend the file, or what it names")
		} else if !slices.ContainsFunc(plugins, isProgram) {
			f = note(path, fmt.Sprintf("the plugin tpcni is not in %s", strings.Join(plugins, " or ")),
				"unless the container runtime looks elsewhere, link it: tuplenet cni install")
		}
		found = append(found, f)
	}
	return found
}

func isProgram(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, "tpcni"))
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// networkWorks asks of a file, with one plugin or a list of them, what a runtime
// would.
func networkWorks(env *Env, text []byte) error {
	var file map[string]json.RawMessage
	if err := json.Unmarshal(text, &file); err != nil {
		return fmt.Errorf("it is no JSON: %w", err)
	}
	own := file
	if list, ok := file["plugins"]; ok {
		var plugins []map[string]json.RawMessage
		if err := json.Unmarshal(list, &plugins); err != nil {
			return fmt.Errorf("\"plugins\" is no list of objects: %w", err)
		}
		i := slices.IndexFunc(plugins, func(p map[string]json.RawMessage) bool { return string(p["type"]) == `"tpcni"` })
		if i < 0 {
			return errors.New("no plugin in it has the type tpcni")
		}
		own = plugins[i]
		own["name"], own["cniVersion"] = file["name"], file["cniVersion"] // as a runtime does
	}
	text, err := json.Marshal(own)
	if err != nil {
		return err
	}
	cfg, err := cni.ParseConfig(text)
	if err == nil {
		err = cfg.Validate()
	}
	if err != nil || cfg.IsUnderlay() {
		return err
	}
	request := attach.Request{Op: attach.Status, Etcd: cfg.Etcd()}
	for _, s := range cfg.Switches {
		request.Switches = append(request.Switches, attach.Switch{Name: s.Name, Subnet: s.Subnet, Reserved: s.Reserved})
	}
	client, err := attach.Dial(cfg.RunDir)
	if err != nil {
		return err
	}
	defer client.Close(0)
	_, err = client.Ask(request, env.Wait)
	return err
}
