package modes

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// release is set by the linker: -ldflags "-X tuplenet/modes.release=v1.0.0".
var release string

// version returns the release, or what the build knows of its origin.
func version() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:        string(ModeVersion),
		Usage:       "print the version, that of Go and the platform",
		Description: example("tuplenet version --json"),
		Flags:       []cli.Flag{&cli.BoolFlag{Name: "json", Aliases: []string{"j"}, Usage: "print a JSON object", DisableDefaultText: true}},
		Action: func(c *cli.Context) error {
			v := struct {
				Version  string `json:"version"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
			}{version(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			if c.Bool("json") {
				return json.NewEncoder(c.App.Writer).Encode(v)
			}
			_, err := fmt.Fprintf(c.App.Writer, "tuplenet %s %s %s\n", v.Version, v.Go, v.Platform)
			return err
		},
	}
}
