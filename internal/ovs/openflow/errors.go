package openflow

import (
	"encoding/binary"
	"fmt"
)

// Error is the error with which Open vSwitch answers a request. Errors of
// Nicira's have type 0xffff, and the code tells them apart.
type Error struct{ Type, Code uint16 }

func (e *Error) Error() string {
	if name := errorNames[*e]; name != "" {
		return name
	}
	return fmt.Sprintf("OpenFlow error of type %d, code %d", e.Type, e.Code)
}

// FlowError says which Mod of a Commit was refused, by Open vSwitch (then Err
// is an *Error) or because it cannot be encoded.
type FlowError struct {
	Index int // in the mods of the call
	Err   error
}

func (e *FlowError) Error() string {
	return fmt.Sprintf("flow-mod %d of the bundle: %v", e.Index, e.Err)
}

func (e *FlowError) Unwrap() error { return e.Err }

// decodeError reads the body of an error message.
func decodeError(body []byte) *Error {
	if len(body) < 4 {
		return &Error{}
	}
	return &Error{Type: binary.BigEndian.Uint16(body), Code: binary.BigEndian.Uint16(body[2:])}
}

// meterError is the type of errors about meters, and unknownMeter the code of
// one that does not exist.
const (
	meterError   = 12
	unknownMeter = 3
)

// badSubtype is the answer to a message of Nicira's that the bridge is too old
// to know.
var badSubtype = Error{1, 4}

// niciraError is the type of an error whose code is an experimenter's.
const niciraError = 0xffff

// errorNames has the names of the errors that the requests of this package can
// meet, as Open vSwitch writes them into its own log.
var errorNames = map[Error]string{
	{0, 0}: "OFPHFC_INCOMPATIBLE: no OpenFlow version in common",
	{0, 1}: "OFPHFC_EPERM",

	{1, 0}:  "OFPBRC_BAD_VERSION",
	{1, 1}:  "OFPBRC_BAD_TYPE",
	{1, 2}:  "OFPBRC_BAD_STAT",
	{1, 3}:  "OFPBRC_BAD_VENDOR",
	{1, 4}:  "OFPBRC_BAD_SUBTYPE",
	{1, 5}:  "OFPBRC_EPERM",
	{1, 6}:  "OFPBRC_BAD_LEN",
	{1, 9}:  "OFPBRC_BAD_TABLE_ID",
	{1, 10}: "OFPBRC_IS_SECONDARY",
	{1, 11}: "OFPBRC_BAD_PORT",
	{1, 13}: "OFPBRC_MULTIPART_BUFFER_OVERFLOW",

	{2, 0}:  "OFPBAC_BAD_TYPE: an unknown action",
	{2, 1}:  "OFPBAC_BAD_LEN",
	{2, 2}:  "OFPBAC_BAD_VENDOR",
	{2, 3}:  "OFPBAC_BAD_VENDOR_TYPE: an unknown action",
	{2, 4}:  "OFPBAC_BAD_OUT_PORT: output to a port that cannot be",
	{2, 5}:  "OFPBAC_BAD_ARGUMENT",
	{2, 6}:  "OFPBAC_EPERM",
	{2, 7}:  "OFPBAC_TOO_MANY",
	{2, 9}:  "OFPBAC_BAD_OUT_GROUP",
	{2, 10}: "OFPBAC_MATCH_INCONSISTENT: an action needs a match that the flow does not have",
	{2, 11}: "OFPBAC_UNSUPPORTED_ORDER",
	{2, 13}: "OFPBAC_BAD_SET_TYPE: an action writes an unknown field",
	{2, 14}: "OFPBAC_BAD_SET_LEN: an action reaches beyond its field",
	{2, 15}: "OFPBAC_BAD_SET_ARGUMENT: an action writes a value that cannot be, or a field that is read-only",

	{3, 0}: "OFPBIC_UNKNOWN_INST",
	{3, 1}: "OFPBIC_UNSUP_INST",
	{3, 2}: "OFPBIC_BAD_TABLE_ID: goto to a table that does not come later",
	{3, 7}: "OFPBIC_BAD_LEN",
	{3, 9}: "OFPBIC_DUP_INST",

	{4, 1}:  "OFPBMC_BAD_LEN",
	{4, 5}:  "OFPBMC_BAD_WILDCARDS",
	{4, 6}:  "OFPBMC_BAD_FIELD: match on an unknown field",
	{4, 7}:  "OFPBMC_BAD_VALUE: match on a value that cannot be",
	{4, 8}:  "OFPBMC_BAD_MASK: a field cannot be masked so",
	{4, 9}:  "OFPBMC_BAD_PREREQ: match on a field without the fields that it presupposes",
	{4, 10}: "OFPBMC_DUP_FIELD: a field is matched twice",

	{5, 0}: "OFPFMFC_UNKNOWN",
	{5, 1}: "OFPFMFC_TABLE_FULL",
	{5, 2}: "OFPFMFC_BAD_TABLE_ID",
	{5, 3}: "OFPFMFC_OVERLAP",
	{5, 4}: "OFPFMFC_EPERM",
	{5, 6}: "OFPFMFC_BAD_COMMAND",
	{5, 7}: "OFPFMFC_BAD_FLAGS",

	{meterError, 0}:            "OFPMMFC_UNKNOWN",
	{meterError, 1}:            "OFPMMFC_METER_EXISTS",
	{meterError, 2}:            "OFPMMFC_INVALID_METER: a number that meters cannot have",
	{meterError, unknownMeter}: "OFPMMFC_UNKNOWN_METER",
	{meterError, 4}:            "OFPMMFC_BAD_COMMAND",
	{meterError, 5}:            "OFPMMFC_BAD_FLAGS: the datapath cannot count what the meter limits",
	{meterError, 6}:            "OFPMMFC_BAD_RATE",
	{meterError, 7}:            "OFPMMFC_BAD_BURST",
	{meterError, 8}:            "OFPMMFC_BAD_BAND",
	{meterError, 10}:           "OFPMMFC_OUT_OF_METERS: the datapath has no meters, or none left",
	{meterError, 11}:           "OFPMMFC_OUT_OF_BANDS",

	{17, 0}:  "OFPBFC_UNKNOWN",
	{17, 1}:  "OFPBFC_EPERM",
	{17, 2}:  "OFPBFC_BAD_ID: the bundle does not exist, or no longer",
	{17, 3}:  "OFPBFC_BUNDLE_EXIST",
	{17, 4}:  "OFPBFC_BUNDLE_CLOSED",
	{17, 5}:  "OFPBFC_OUT_OF_BUNDLES",
	{17, 6}:  "OFPBFC_BAD_TYPE",
	{17, 7}:  "OFPBFC_BAD_FLAGS",
	{17, 8}:  "OFPBFC_MSG_BAD_LEN",
	{17, 9}:  "OFPBFC_MSG_BAD_XID",
	{17, 10}: "OFPBFC_MSG_UNSUP",
	{17, 12}: "OFPBFC_MSG_TOO_MANY",
	{17, 13}: "OFPBFC_MSG_FAILED",
	{17, 14}: "OFPBFC_TIMEOUT",

	{niciraError, 2}:  "NXBRC_NXM_INVALID",
	{niciraError, 3}:  "NXBRC_NXM_BAD_TYPE: an unknown field",
	{niciraError, 4}:  "NXBRC_MUST_BE_ZERO",
	{niciraError, 10}: "NXBRC_UNENCODABLE_ERROR",
	{niciraError, 11}: "NXBAC_MUST_BE_ZERO",
	{niciraError, 12}: "NXFMFC_HARDWARE",
	{niciraError, 16}: "NXTTMFC_BAD_COMMAND",
	{niciraError, 17}: "NXTTMFC_BAD_OPT_LEN: a length that options do not have",
	{niciraError, 18}: "NXTTMFC_BAD_FIELD_IDX: there is no tun_metadata of that number",
	{niciraError, 19}: "NXTTMFC_TABLE_FULL",
	{niciraError, 20}: "NXTTMFC_ALREADY_MAPPED",
	{niciraError, 21}: "NXTTMFC_DUP_ENTRY",
	{niciraError, 37}: "NXFMFC_INVALID_TLV_FIELD: the bridge maps no Geneve option to the tun_metadata field",
	{niciraError, 38}: "NXTTMFC_INVALID_TLV_DEL",
}
