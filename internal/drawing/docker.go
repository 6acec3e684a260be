package drawing

import (
	"fmt"
	"slices"
	"strings"

	"tuplenet/internal/topology"
)

// NameNetworks tells the names of the Docker networks on each switch. It is for
// graphs that New returns, before anything is made of them.
func (g *Graph) NameNetworks(bySwitch map[string][]string) {
	for _, n := range g.Nodes {
		if names := bySwitch[n.Key.Name]; n.Key.Kind == topology.KindSwitch && len(names) > 0 {
			n.Docker = slices.Compact(slices.SortedFunc(slices.Values(names), natural))
		}
	}
}

// name names one node. A switch that was made for a network of Docker has an id
// for a name, which says less than what Docker calls it.
func (w writing) name(n *Node) string {
	id := w.clean(topology.ShortDockerID(n.Key.Name))
	if len(n.Docker) == 0 || !topology.IsDockerID(n.Key.Name) {
		return id
	}
	return fmt.Sprintf("%s (%s)", strings.Join(w.cleaned(n.Docker), ", "), id)
}

// docker names the networks of Docker on a switch that is not named for one, and
// ends with a comma; nothing if there are none.
func (w writing) docker(n *Node) string {
	if len(n.Docker) == 0 || topology.IsDockerID(n.Key.Name) {
		return ""
	}
	noun := "Docker network "
	if len(n.Docker) > 1 {
		noun = "Docker networks "
	}
	return noun + strings.Join(w.short(w.cleaned(n.Docker), "more"), ", ") + ", "
}
