package openflow

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"tuplenet/flows"
)

// ErrNoMeters is returned by EnsureMeters when the bridge's datapath has no
// meters; a kernel's may be too old for them.
var ErrNoMeters = errors.New("the datapath has no meters")

const multipartMeterConfig = 10

// Commands of a meter-mod (ofp_meter_mod_command).
const (
	meterAdd    = 0
	meterModify = 1
)

// meterFlags make a meter count packets per second (2) and heed the size of
// the burst (4).
const meterFlags = 2 | 4

const bandDrop = 1

// EnsureMeters makes the bridge have the meters, so that flows can name them.
// It leaves alone those that are as they should be, so that nothing is let
// through twice.
func (c *Conn) EnsureMeters(ctx context.Context, want []flows.MeterInfo) error {
	for _, m := range want {
		if err := c.ensureMeter(ctx, m); err != nil {
			var refused *Error
			if errors.As(err, &refused) && refused.Type == meterError {
				err = fmt.Errorf("%w: %w", ErrNoMeters, err)
			}
			return fmt.Errorf("make meter %d of %s: %w", m.Meter.ID(), c.path, err)
		}
	}
	return nil
}

func (c *Conn) ensureMeter(ctx context.Context, m flows.MeterInfo) error {
	request := []byte{0, multipartMeterConfig, 0, 0, 0, 0, 0, 0}
	request = binary.BigEndian.AppendUint32(request, m.Meter.ID())
	request = append(request, 0, 0, 0, 0)
	reply, err := c.call(ctx, typeMultipartRequest, request, typeMultipartReply)
	command := byte(meterModify)
	if refused := (*Error)(nil); errors.As(err, &refused) && *refused == (Error{meterError, unknownMeter}) {
		command = meterAdd
	} else if err != nil {
		return err
	}
	mod := appendMeterMod(nil, command, m)
	// A reply has the meter just as the request to make it, but for the first
	// two bytes: its length is in the place of the command.
	if len(reply) == 8+len(mod) && bytes.Equal(reply[8+2:], mod[2:]) {
		return nil
	}
	return c.command(ctx, typeMeterMod, mod)
}

// appendMeterMod adds the body of a meter-mod.
func appendMeterMod(b []byte, command byte, m flows.MeterInfo) []byte {
	b = append(b, 0, command, 0, meterFlags)
	b = binary.BigEndian.AppendUint32(b, m.Meter.ID())
	b = append(b, 0, bandDrop, 0, 16)
	b = binary.BigEndian.AppendUint32(b, m.Rate)
	b = binary.BigEndian.AppendUint32(b, m.Burst)
	return append(b, 0, 0, 0, 0)
}
