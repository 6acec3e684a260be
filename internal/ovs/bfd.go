package ovs

import (
	"maps"
	"strconv"
	"strings"
)

// BFD says whether a tunnel is watched by BFD (RFC 5880), and how. Its fields
// are those of the column bfd that ovs-vswitchd.conf.db(5) describes.
type BFD struct {
	Keep   bool // leave it as it is; the other fields mean nothing
	Enable bool // without, the other fields mean nothing
	// MinRx and MinTx are the shortest intervals between packets that this
	// end wants to receive and to send, in milliseconds; 0 leaves Open
	// vSwitch's defaults, 1000 and 100.
	MinRx, MinTx int
	// PathDown tells the other ends not to send to this one, though it can
	// be reached (cpath_down).
	PathDown bool
}

// The keys of the column bfd that are the driver's.
const (
	bfdEnable   = "enable"
	bfdMinRx    = "min_rx"
	bfdMinTx    = "min_tx"
	bfdPathDown = "cpath_down"
)

func bfdEnabled(column map[string]string) bool { return strings.EqualFold(column[bfdEnable], "true") }

// pathDownDiagnostic is what the column bfd_status says of an end that has
// PathDown.
const pathDownDiagnostic = "Concatenated Path Down"

// hearsBFD reports whether, by the column bfd_status, packets of the other end come
// in: what it says is forgotten when they cease to.
func hearsBFD(status map[string]string) bool {
	other := status["remote_state"]
	return status["state"] == "up" || status["state"] == "init" || other != "" && other != "down"
}

// columnOver returns the column bfd that carries out the wish, given the one
// that there is, of which keys that are not the driver's stay.
func (b BFD) columnOver(now map[string]string) map[string]string {
	if !b.Enable {
		return map[string]string{bfdEnable: "false"}
	}
	column := merged(now, map[string]string{bfdEnable: "true"})
	set := func(key, value string, present bool) {
		delete(column, key)
		if present {
			column[key] = value
		}
	}
	set(bfdMinRx, strconv.Itoa(b.MinRx), b.MinRx > 0)
	set(bfdMinTx, strconv.Itoa(b.MinTx), b.MinTx > 0)
	set(bfdPathDown, "true", b.PathDown)
	return column
}

// normal returns the one form of all wishes that mean the same.
func (b BFD) normal() BFD {
	if !b.Enable {
		return BFD{}
	}
	return b
}

// isSaidBy reports whether the column carries out the wish.
func (b BFD) isSaidBy(column map[string]string) bool {
	if !b.Enable {
		return !bfdEnabled(column)
	}
	return maps.Equal(column, b.columnOver(column))
}
