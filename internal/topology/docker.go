package topology

import (
	"regexp"
	"strings"
)

// dockerIDLength is how many hexadecimal digits Docker's ids of networks and
// endpoints have, dockerIDShown how many of them its tools show.
const (
	dockerIDLength = 64
	dockerIDShown  = 12
)

// IsDockerID reports whether a name is one that Docker gives: switches that are
// made for its networks, and the ports of its endpoints, have such names.
func IsDockerID(name string) bool {
	return len(name) == dockerIDLength && isHex(name)
}

// StartsDockerID reports whether a name may be the beginning of an id: what Docker
// shows of one, or more of it.
func StartsDockerID(name string) bool {
	return len(name) >= dockerIDShown && len(name) < dockerIDLength && isHex(name)
}

func isHex(name string) bool { return strings.Trim(name, "0123456789abcdef") == "" }

// ShortDockerID returns a name as Docker shows it, if it is an id; any other as
// it is.
func ShortDockerID(name string) string {
	if IsDockerID(name) {
		return name[:dockerIDShown]
	}
	return name
}

// words are what an id may be one of in a text: to_<id>, switch <id>.
var words = regexp.MustCompile("[0-9A-Za-z]+")

// ShortDockerIDs returns a text with the ids in it as Docker shows them.
func ShortDockerIDs(text string) string {
	return words.ReplaceAllStringFunc(text, ShortDockerID)
}

// DockerNetwork returns the id of the Docker network that a port's owner is an
// endpoint of, or nothing if the owner is another. See docs/compat.md for what
// owners are named.
func (p SwitchPort) DockerNetwork() string {
	rest, ok := strings.CutPrefix(p.Owner, "cnm:")
	network, _, isWhole := strings.Cut(rest, "/")
	if !ok || !isWhole {
		return ""
	}
	return network
}
