package ctl

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"tuplenet/internal/drawing"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

var (
	dotFlag   = Flag{Name: "dot", Usage: "print the graph in Graphviz's language"}
	svgFlag   = Flag{Name: "svg", Value: "FILE", Usage: "write a picture to `FILE`, or to standard output if that is -"}
	asciiFlag = Flag{Name: "ascii", Usage: "draw with ASCII characters alone, as is done where the locale is not UTF-8"}
	fullFlag  = Flag{Name: "full", Usage: "draw everything by itself, also what is alike, and lists as long as they are"}
	depthFlag = Flag{Name: "depth", Value: "N", Usage: "draw what is at most `N` links away from what is named, instead of 2"}
)

func topologyCommands() []Command {
	return []Command{{
		Object: "topology", Args: []string{"[SWITCH|ROUTER|CHASSIS...]"}, Flags: []Flag{dotFlag, svgFlag, asciiFlag, fullFlag, depthFlag}, reads: true,
		Usage: "draw switches, routers, ports, edges and chassis",
		Notes: "Draws what the store holds: routers as boxes with their routes and NAT rules, from which switches branch off with the router's address in each; outer ports with their chassis and bridge; " +
			"and the chassis with the workloads that are plugged in there. With names it draws what is around these: two links far, --depth says how far instead.\n" +
			"Ten or more switches, routers or chassis that are alike are drawn as one, and long lists are cut short, unless --full is given. " +
			"A switch that was made for a network of Docker is drawn with the name that it has there, which names it, too. " +
			"\"!\" marks what does not count, or refers to something that is not there.\n" +
			"--json prints all nodes and edges as one object, in any number. \"--dot | dot -Tpdf\" has Graphviz draw it, --svg needs nothing else. " +
			"A drawing on a terminal is cut to its width; elsewhere to COLUMNS, if that is set.",
		Example: "tpctl topology LR-central --depth 1",
		run:     drawTopology,
	}}
}

// drawTopology draws what the store holds.
func drawTopology(s *session, args []string) error {
	if err := oneForm(s.Env); err != nil {
		return err
	}
	depth, err := s.depth(len(args))
	if err != nil {
		return err
	}
	items, err := s.store.Everything(s.ctx)
	if err != nil {
		return err
	}
	graph := drawing.New(changes(items))
	graph.NameNetworks(networkNames(items))
	if len(args) > 0 {
		names := make([]string, len(args))
		for i, arg := range args {
			if names[i], err = name(arg); err != nil {
				return err
			}
		}
		if graph, err = graph.Around(names, depth); err != nil {
			return err
		}
	}
	if !s.JSON && !s.set(fullFlag) {
		graph = graph.Fold()
	}
	switch file := s.Flags[svgFlag.Name]; {
	case s.JSON:
		err = graph.JSON(s.Out)
	case s.set(dotFlag):
		err = graph.DOT(s.Out)
	case file != "" && file != "-":
		return s.drawFile(file, graph)
	case file == "-":
		err = graph.SVG(s.Out)
	default:
		err = graph.Text(s.Out, drawing.TextOptions{Width: s.width(), ASCII: s.set(asciiFlag) || !unicodeLocale()})
	}
	if err != nil {
		return fmt.Errorf("print the topology: %w", err)
	}
	return nil
}

// oneForm refuses flags that ask for several forms of the drawing.
func oneForm(env Env) error {
	var forms []string
	if env.JSON {
		forms = append(forms, "--json")
	}
	for _, f := range []Flag{dotFlag, svgFlag, asciiFlag} {
		if env.set(f) {
			forms = append(forms, "--"+f.Name)
		}
	}
	if len(forms) > 1 {
		return fmt.Errorf("%s contradict each other: choose one", strings.Join(forms, " and "))
	}
	return nil
}

// depth returns how far from the names, of which there are n, the drawing goes.
func (s *session) depth(n int) (int, error) {
	text := s.Flags[depthFlag.Name]
	if text == "" {
		return 2, nil // the routers of a switch and what else they lead to
	}
	depth, err := strconv.ParseUint(text, 10, 31)
	switch {
	case err != nil:
		return 0, fmt.Errorf("invalid --%s %q, want a number from 0 to %d", depthFlag.Name, text, math.MaxInt32)
	case n == 0:
		return 0, errors.New("--depth is the distance from a switch, router or chassis: name one")
	}
	return int(depth), nil
}

// drawFile writes the picture to a file, once it is complete.
func (s *session) drawFile(file string, graph *drawing.Graph) error {
	var picture bytes.Buffer
	err := graph.SVG(&picture)
	if err == nil {
		err = os.WriteFile(file, picture.Bytes(), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write the picture: %w", err)
	}
	return s.say("topology drawn in %s", file)
}

// changes returns the objects of the store as a model of the topology takes
// them.
func changes(items []store.Item) []topology.Change {
	list := make([]topology.Change, 0, len(items))
	for _, item := range items {
		if item.Role != store.Object {
			continue
		}
		c := topology.Change{Key: item.Key, Created: item.Created, Err: item.Err}
		if item.Err == nil {
			c.Entity = item.Entity
		}
		list = append(list, c)
	}
	return list
}

// networkNames returns the names of the Docker networks on each switch.
func networkNames(items []store.Item) map[string][]string {
	names := map[string][]string{}
	for _, item := range items {
		if n := item.Network; n != nil && (n.Name != "" || n.Switch != n.ID) {
			names[n.Switch] = append(names[n.Switch], topology.ShortDockerID(n.String()))
		}
	}
	return names
}
