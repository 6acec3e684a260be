package cnm

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-plugins-helpers/network"

	"tuplenet/internal/store"
	"tuplenet/internal/suggest"
	"tuplenet/internal/topology"
)

// What libnetwork calls the options of a network.
const (
	genericKey  = "com.docker.network.generic" // those of `docker network create -o`
	internalKey = "com.docker.network.internal"
	ipv6Key     = "com.docker.network.enable_ipv6"
	mtuKey      = "com.docker.network.driver.mtu" // as Docker's own drivers know it
	dockerKeys  = "com.docker."
)

// networkOptions are those of ours, for suggestions.
var networkOptions = []string{"switch", "router", "mtu", "subnet", "gateway", "port_security"}

// wish is what a user of Docker wants a network to be. What is zero was not said.
type wish struct {
	sw       string  // an existing switch
	router   *string // empty: none
	mtu      int
	subnet   netip.Prefix // masked
	gateway  netip.Addr
	secured  *bool
	internal bool
}

// parseOptions reads what CreateNetwork is told: options of Docker, and among
// these those of the driver.
func parseOptions(given map[string]any) (wish, error) {
	driver := map[string]string{}
	switch generic := given[genericKey].(type) {
	case nil:
	case map[string]any:
		for key, value := range generic {
			text, ok := value.(string)
			if !ok && !strings.HasPrefix(key, dockerKeys) {
				return wish{}, fmt.Errorf("option -o %s is no text", key)
			}
			driver[key] = text
		}
	default:
		return wish{}, fmt.Errorf("the options of the network (%s) are no list of names and values", genericKey)
	}
	if isOn(given[ipv6Key]) {
		return wish{}, errIPv6
	}
	w, err := parseDriverOptions(driver)
	w.internal = isOn(given[internalKey])
	if err == nil && w.internal && w.router != nil && *w.router != "" {
		err = fmt.Errorf("--internal and -o router=%s exclude each other: a network that is linked to a router is not internal", *w.router)
	}
	return w, err
}

var errIPv6 = errors.New("networks of TupleNet have IPv4 alone: leave --ipv6 and its subnet out")

// isOn reads a flag of Docker's, which is true, or a text that says so.
func isOn(value any) bool {
	switch value := value.(type) {
	case bool:
		return value
	case string:
		on, err := strconv.ParseBool(value)
		return on && err == nil
	}
	return false
}

// parseDriverOptions reads what was said with -o. What begins with com.docker. may
// be meant for others.
func parseDriverOptions(given map[string]string) (w wish, err error) {
	for _, key := range slices.Sorted(maps.Keys(given)) {
		value := strings.TrimSpace(given[key])
		switch key {
		case "switch":
			w.sw, err = value, topology.CheckName(value)
		case "router":
			if w.router = &value; value != "" {
				err = topology.CheckName(value)
			}
		case "mtu", mtuKey:
			if w.mtu, err = strconv.Atoi(value); err != nil || w.mtu < minMTU || w.mtu > maxMTU {
				err = fmt.Errorf("want %d to %d bytes", minMTU, maxMTU)
			}
		case "subnet":
			w.subnet, err = parseSubnet(value)
		case "gateway":
			w.gateway, err = topology.ParseAddr(value)
		case "port_security":
			secured := value == "on"
			if w.secured = &secured; !secured && value != "off" {
				err = errors.New("want on or off")
			}
		default:
			if !strings.HasPrefix(key, dockerKeys) {
				return w, fmt.Errorf("unknown option -o %s=%s%s", key, value, suggest.Among(key, networkOptions))
			}
		}
		if err != nil {
			return w, fmt.Errorf("invalid option -o %s=%s: %w", key, value, err)
		}
	}
	if w.sw != "" && w.router != nil && *w.router != "" {
		return w, fmt.Errorf("-o switch=%s and -o router=%s exclude each other: a switch that is there already keeps its links; link it with tpctl lr link %[2]s %[1]s CIDR", w.sw, *w.router)
	}
	return w, nil
}

// parseSubnet reads a subnet, with or without host bits.
func parseSubnet(text string) (netip.Prefix, error) {
	p, err := newPool(text, "")
	return p.subnet, err
}

// addPools joins what the IPAM driver has chosen to what was said. Docker's null
// driver chooses nothing, and calls that 0.0.0.0/0.
func (w *wish) addPools(v4 []*network.IPAMData, v6 int) error {
	switch {
	case v6 > 0:
		return errIPv6
	case len(v4) > 1:
		return fmt.Errorf("%d subnets are given, but a network of TupleNet has one: give one --subnet", len(v4))
	case len(v4) == 1 && v4[0] == nil:
		return errors.New("the network's address pool is null")
	}
	if len(v4) == 1 && v4[0].Pool != "" && v4[0].Pool != "0.0.0.0/0" {
		if w.subnet.IsValid() || w.gateway.IsValid() {
			return errors.New("-o subnet and -o gateway are for --ipam-driver null: give --subnet and --gateway instead")
		}
		var err error
		if w.subnet, err = parseSubnet(v4[0].Pool); err != nil {
			return err
		}
		if v4[0].Gateway != "" {
			if w.gateway, err = parseGateway(v4[0].Gateway); err != nil {
				return err
			}
		}
	}
	if w.gateway.IsValid() {
		switch {
		case !w.subnet.IsValid():
			return fmt.Errorf("the gateway %s needs a subnet: give -o subnet, too", w.gateway)
		case !topology.IsHost(w.gateway, w.subnet) || !w.subnet.Contains(w.gateway):
			return fmt.Errorf("the gateway %s is no address of a machine in the subnet %s", w.gateway, w.subnet)
		}
	}
	return nil
}

// parseGateway reads an address as IPAM drivers give it, with the length of the
// subnet or without.
func parseGateway(text string) (netip.Addr, error) {
	if p, err := topology.ParsePrefix(text); err == nil {
		return p.Addr(), nil
	}
	ip, err := topology.ParseAddr(text)
	if err != nil {
		return ip, fmt.Errorf("gateway: %w", err)
	}
	return ip, nil
}

// record returns what is known of the network before the topology was looked at.
func (w *wish) record(id string, scope store.Scope, secured bool) store.Network {
	if w.secured != nil {
		secured = *w.secured
	}
	return store.Network{ID: id, Subnet: w.subnet, Gateway: w.gateway, MTU: w.mtu, Internal: w.internal, Secured: secured, Scope: scope}
}
