package modes

import (
	"embed"
	"fmt"

	"github.com/urfave/cli/v2"
)

//go:embed completion
var completionScripts embed.FS

func completionCommand() *cli.Command {
	shells := []string{"bash", "zsh", "fish"}
	cmd := &cli.Command{
		Name:        string(ModeCompletion),
		Usage:       "print the shell completion of tuplenet and tpctl",
		Description: example("source <(tuplenet completion bash)", "tpctl completion zsh > ~/.zfunc/_tuplenet"),
	}
	for _, shell := range shells {
		cmd.Subcommands = append(cmd.Subcommands, &cli.Command{
			Name:  shell,
			Usage: "print the completion for " + shell,
			Action: func(c *cli.Context) error {
				script, err := completionScripts.ReadFile("completion/tuplenet." + shell)
				if err != nil {
					return fmt.Errorf("read the completion for %s: %w", shell, err)
				}
				_, err = c.App.Writer.Write(script)
				return err
			},
		})
	}
	return cmd
}
