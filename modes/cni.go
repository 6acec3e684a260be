package modes

import (
	"encoding/json"
	"fmt"
	"io"
)

// cniUnavailable is the code by which a plugin says that it cannot serve
// requests, see "Error" in the CNI specification 1.1.0.
const cniUnavailable = 50

// writeCNIError answers a container runtime, which reads an error from
// standard output.
func writeCNIError(w io.Writer, err error) {
	answer := struct {
		CNIVersion string `json:"cniVersion"`
		Code       int    `json:"code"`
		Msg        string `json:"msg"`
	}{"1.1.0", cniUnavailable, err.Error()}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		fmt.Fprintln(w, err)
	}
}
