package ctl

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"tuplenet/internal/manifest"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// Flags of apply and export.
var (
	fileFlag = Flag{Name: "file", Aliases: []string{"f"}, Value: "FILE", Required: true, Many: true,
		Usage: "read `FILE`, or *.yaml, *.yml and *.json in a directory, or standard input (-); may be given several times"}
	pruneFlag = Flag{Name: "prune", Usage: "delete what the files do not describe"}
	keepFlag  = Flag{Name: "keep", Value: "PATTERN", Many: true,
		Usage: "with --prune, keep what `PATTERN` matches, by its name or as SWITCH/PORT, and what it hangs on; may be given several times"}
	verboseFlag = Flag{Name: "verbose", Usage: "name each object, however many there are"}
	dryRunFlag  = Flag{Name: "dry-run", Usage: "show what would be done, and do nothing"}
	boundFlag   = Flag{Name: "bound", Usage: "with the chassis that agents have bound ports to"}
)

// fileCommands are about the whole topology as a text.
func fileCommands() []Command {
	early := Flag{Name: forceFlag.Name, Usage: "do it although a chassis has no record yet, or a child no parent"}
	return []Command{
		{
			Object: "apply", Flags: []Flag{fileFlag, pruneFlag, keepFlag, dryRunFlag, verboseFlag, early, yesFlag}, steps: true,
			reads: true, // until it writes: a dry run does not even make the globals
			Usage: "make the virtual network what files describe",
			Notes: "Everything is checked first, and what is wrong is told with file and line; then nothing is written. What is there and no file describes stays, unless --prune is given, " +
				"which asks, or reads \"yes\" from standard input, before it deletes. The chassis that agents have bound ports to stay as they are, and so do ports that containers use, and switches that Docker networks are on. What was done is named at the end, a line an object; of more than fifty of a kind only how many, without --verbose. Run again after a failure, it goes on where it stopped.",
			Example: "tpctl apply -f network.yaml --dry-run",
			run:     applyFiles,
		},
		{
			Object: "export", Args: []string{"[SWITCH|ROUTER...]"}, Flags: []Flag{boundFlag}, reads: true,
			Usage: "print the virtual network as a file for \"tpctl apply\"",
			Notes: "Of switches and routers that are named, or of all. A link belongs to its router. Ports that were made for containers, and switches that were made for Docker networks, are left out, as they go with these. " +
				"With --json it is one line of JSON, which \"tpctl apply\" reads, too.",
			Example: "tpctl export > network.yaml",
			run:     exportFile,
		},
	}
}

// readFiles reads what --file names.
func (s *session) readFiles() (manifest.Description, error) {
	var sources []manifest.Source
	for _, name := range strings.Split(s.Flags[fileFlag.Name], ",") {
		if name == "-" {
			text, err := io.ReadAll(s.In)
			if err != nil {
				return nil, fmt.Errorf("read standard input: %w", err)
			}
			sources = append(sources, manifest.Source{Name: "stdin", Text: text})
			continue
		}
		files, err := filesIn(name)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			sources = append(sources, manifest.Source{Name: file, Text: text})
		}
	}
	return manifest.Read(sources...)
}

// filesIn returns the files that a name stands for: itself, or in a directory
// those that a description may be in, sorted. Hidden ones are editors' own.
func filesIn(name string) ([]string, error) {
	info, err := os.Stat(name)
	if err != nil || !info.IsDir() {
		return []string{name}, err
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		isText := slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name()))
		if isText && !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, filepath.Join(name, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("directory %s holds no *.yaml, *.yml or *.json", name)
	}
	return files, nil
}

// kept returns the function that tells what --keep keeps.
func (s *session) kept() (func(topology.Key) bool, error) {
	var patterns []string
	if text := s.Flags[keepFlag.Name]; text != "" {
		patterns = strings.Split(text, ",")
	}
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil {
			return nil, fmt.Errorf("invalid --keep %q: want a name in which * stands for any letters", p)
		}
	}
	return func(key topology.Key) bool {
		return slices.ContainsFunc(patterns, func(p string) bool {
			byName, _ := path.Match(p, key.Name)
			byPath, _ := path.Match(p, key.Parent+"/"+key.Name)
			return byName || byPath && key.Parent != ""
		})
	}, nil
}

// stateOfStore returns what a description is compared with.
func stateOfStore(n *store.Snapshot) manifest.State {
	return manifest.State{Entities: n.Entities, Broken: n.Broken, IDTaken: n.IDTaken}
}

// printChanges prints what was done, or would be: a line for each object, or for
// people, if there are more than most of a kind to which the same was done, one
// for all of these.
func (s *session) printChanges(changes []manifest.Change, most int) error {
	out := bufio.NewWriter(s.Out)
	counts := tallyOf(changes)
	summed := tally{}
	for _, c := range changes {
		kind, n := c.Key.Kind, counts[c.Action()][c.Key.Kind]
		switch {
		case s.JSON:
			if err := WriteJSON(out, changeObject(c)); err != nil {
				return err
			}
		case n <= most:
			fmt.Fprintln(out, changeLine(c))
		case summed[c.Action()][kind] == 0:
			summed.add(c)
			fmt.Fprintf(out, "%s %s (--%s names them)\n", signs[c.Action()], plural(n, nounOf(kind)), verboseFlag.Name)
		}
	}
	return out.Flush()
}

// signs are how a diff shows what is done.
var signs = map[manifest.Action]string{manifest.Create: "+", manifest.Modify: "~", manifest.Delete: "-"}

// nounOf returns what one object of a kind is called.
func nounOf(kind topology.Kind) string {
	if kind == topology.KindNAT {
		return "NAT rule"
	}
	return kind.String()
}

// changeLine returns a change as a line of a diff.
func changeLine(c manifest.Change) string {
	var fields []string
	for _, d := range c.Differences() {
		switch {
		case c.Before != nil && c.After != nil:
			fields = append(fields, fmt.Sprintf("%s %s -> %s", d.Field, cmp.Or(d.Old, "none"), cmp.Or(d.New, "none")))
		default:
			fields = append(fields, d.Field+" "+cmp.Or(d.New, d.Old))
		}
	}
	if c.Broken != nil {
		fields = append(fields, fmt.Sprintf("its value cannot be used: %v", c.Broken))
	}
	line := signs[c.Action()] + " " + c.Key.String()
	if len(fields) > 0 {
		line += ": " + strings.Join(fields, ", ")
	}
	return line
}

// changeObject returns a change as it is printed in JSON.
func changeObject(c manifest.Change) json.Marshaler {
	o := object{name: c.Key.Name, event: string(c.Action()), fields: []field{{name: "kind", value: c.Key.Kind.String()}}}
	if c.Key.Parent != "" {
		o.parent = field{name: c.Key.Kind.Parent().String(), value: c.Key.Parent}
	}
	if list := c.Differences(); len(list) > 0 {
		o.fields = append(o.fields, field{name: "fields", value: list})
	}
	if c.At != (manifest.Place{}) {
		o.fields = append(o.fields, field{name: "at", value: c.At.String()})
	}
	return o
}

// exportFile prints what the store holds as a description.
func exportFile(s *session, args []string) error {
	n, err := s.store.Snapshot(s.ctx)
	if err != nil {
		return err
	}
	if len(n.Entities) == 0 {
		s.nothingThere()
	}
	networks, err := s.store.Networks(s.ctx)
	if err != nil {
		return err
	}
	networks = slices.DeleteFunc(networks, func(n store.Network) bool { return !n.Made })
	chosen := map[topology.Key]bool{}
	for _, arg := range args {
		sw, lr := topology.Key{Kind: topology.KindSwitch, Name: arg}, topology.Key{Kind: topology.KindRouter, Name: arg}
		if n.Entities[sw] == nil && n.Entities[lr] == nil {
			return fmt.Errorf("switch or router %s %w", arg, store.ErrNotFound)
		}
		chosen[sw], chosen[lr] = true, true
		if i := slices.IndexFunc(networks, func(n store.Network) bool { return n.Switch == arg }); i >= 0 {
			s.note(fmt.Sprintf("switch %s is left out, as it was made for Docker network %s, and goes with that", arg, networks[i].Title()))
		}
	}
	how := manifest.Writing{Bound: s.set(boundFlag), Apart: partsOf(n.Entities, switchesOf(networks))}
	if len(args) > 0 {
		how.Chosen = func(device topology.Key) bool { return chosen[device] }
	}
	var entities []topology.Stored
	for _, e := range n.Entities {
		entities = append(entities, e)
	}
	doc, omitted := manifest.Describe(entities, how)
	for key, err := range n.Broken {
		omitted[key] = fmt.Sprintf("its value in the store cannot be used: %v", err)
	}
	for _, key := range slices.SortedFunc(maps.Keys(omitted), topology.Key.Compare) {
		fmt.Fprintf(s.Err, "%s is skipped, %s\n", key, omitted[key])
	}
	if !s.JSON {
		out := bufio.NewWriter(s.Out)
		return errors.Join(manifest.Write(out, doc), out.Flush())
	}
	var v any
	if err := doc.Decode(&v); err != nil {
		return fmt.Errorf("describing the network: %w", err)
	}
	return WriteJSON(s.Out, v)
}
