package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/metrics"
)

// The bounds of BFD's intervals, in milliseconds. Shorter ones cost more than
// they bring, and with longer ones nobody waits for the end of a detection.
const minBFD, maxBFD = 10, 60000

var wantsBFD = fmt.Sprintf("milliseconds from %d to %d", minBFD, maxBFD)

func hashNames() []string { return slices.Sorted(maps.Keys(flows.Hashes)) }

func setEndpoints(to *Config, v string) bool {
	to.Etcd.Endpoints = nil
	for e := range strings.SplitSeq(v, ",") {
		if e = strings.TrimSpace(e); e == "" {
			continue
		}
		if !isEndpoint(e) {
			return false
		}
		to.Etcd.Endpoints = append(to.Etcd.Endpoints, e)
	}
	return len(to.Etcd.Endpoints) > 0
}

// isEndpoint reports whether etcd could be there, before anybody waits for an
// answer from it.
func isEndpoint(s string) bool {
	scheme, rest, isURL := strings.Cut(s, "://")
	if isURL && scheme == "unix" && strings.HasPrefix(rest, "/") {
		return true
	}
	if !isURL {
		rest = s
	}
	host, port, err := net.SplitHostPort(strings.TrimSuffix(rest, "/"))
	_, bad := strconv.ParseUint(port, 10, 16)
	return err == nil && bad == nil && host != "" && (!isURL || scheme == "http" || scheme == "https")
}

// maskPassword shows the name of NAME:PASSWORD.
func maskPassword(v string) string {
	if name, _, has := strings.Cut(v, ":"); has {
		return name + ":***"
	}
	return v
}

// setDatabase makes an OVSDB endpoint of a socket's path; what is an endpoint
// already stays as it is.
func setDatabase(to *Config, v string) bool {
	if v != "" && !strings.Contains(v, ":") {
		v = "unix:" + v
	}
	to.OVS.Database = v
	return true
}

func setIdle(to *Config, v string) bool {
	seconds, err := strconv.Atoi(v)
	to.IdleTimeout = time.Duration(seconds) * time.Second
	return err == nil && seconds >= 1 && seconds <= 86400
}

func setHash(to *Config, v string) bool {
	to.Hash = v
	_, ok := flows.Hashes[v]
	return ok
}

// setBFD sets one of BFD's intervals, or none: that which the others have from it.
func setBFD(field func(*Config) *int) func(*Config, string) bool {
	return func(to *Config, v string) bool {
		ms, err := strconv.Atoi(v)
		if field != nil {
			*field(to) = ms
		}
		return err == nil && ms >= minBFD && ms <= maxBFD
	}
}

func setCollectors(to *Config, v string) bool {
	to.Collectors = nil
	if v == "" {
		return true
	}
	for part := range strings.SplitSeq(v, ",") {
		collector, err := netip.ParseAddrPort(strings.TrimSpace(part))
		if err != nil || collector.Port() == 0 || collector.Addr().IsUnspecified() || collector.Addr().Zone() != "" {
			return false
		}
		to.Collectors = append(to.Collectors, collector)
	}
	return true
}

func setSampling(to *Config, v string) bool {
	n, err := strconv.ParseUint(v, 10, 32)
	to.Sampling = uint32(n)
	return err == nil && n > 0
}

func setLevel(to *Config, v string) bool {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, strings.ToLower(v)) {
		return false
	}
	return to.LogLevel.UnmarshalText([]byte(v)) == nil
}

func setFormat(to *Config, v string) bool {
	to.LogFormat = v
	return v == "text" || v == "json"
}

func setMetrics(to *Config, v string) bool {
	to.Metrics = ""
	if v == "" {
		return true
	}
	address, err := metrics.Address(v)
	to.Metrics = address
	return err == nil
}
