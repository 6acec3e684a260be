package metrics

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Address returns where to serve the pages, HOST:PORT, by what an operator says of
// it: a port alone is one of this machine's loopback address, so that nobody else
// hears of the network unless an address says so.
func Address(said string) (string, error) {
	host, port, err := net.SplitHostPort(said)
	if err != nil && !strings.ContainsAny(said, ":]") {
		host, port, err = "", said, nil
	}
	number, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil || number == 0 || strings.ContainsAny(host, " /") {
		return "", fmt.Errorf("%q is neither ADDRESS:PORT nor PORT, which is for this machine alone; such as 127.0.0.1:9481, 9481, or 0.0.0.0:9481 for all addresses", said)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}
