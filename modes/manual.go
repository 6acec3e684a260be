package modes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"tuplenet/internal/config"
	"tuplenet/internal/ctl"
	"tuplenet/plugins/cnm"
)

// The manual, in Markdown, from what the commands say of themselves. All that is
// written for it alone stands in this file.

const aboutCtl = `tpctl shows and changes TupleNet's virtual network, which is kept in etcd. It runs on any machine that reaches etcd. ` +
	`Every command does its work in one transaction or says in one sentence why it does not, and then its exit status is not 0. ` +
	`Flags may stand anywhere; ` + "`--`" + ` ends them. "tuplenet ctl" is the same as tpctl.`

const aboutLists = `Commands that print a list have flags in common:

`

const aboutConditions = `A condition compares a field of the list with a value:

FIELD=VALUE
:   The field has that value. A network stands for all addresses within it: ` + "`ip=10.20.0.0/16`" + `. With nothing behind the equals sign, the field is empty: ` + "`chassis=`" + `.

FIELD!=VALUE
:   The field has another value, or is outside of that network.

FIELD~PATTERN
:   The value is like the pattern, in which ` + "`*`" + ` stands for any text, ` + "`?`" + ` for one character, and ` + "`[a-f]`" + ` for one of several: ` + "`name~web-*`" + `.

FIELD>NUMBER
:   The value is a number above that one: ` + "`packets>0`" + `. The operators ` + "`<`, `<=` and `>=`" + ` are there, too, and all four compare addresses as well. The shell wants quotes: ` + "`--filter 'packets>0'`" + `.

In the fields origin and state upper and lower case are one. Of several conditions all have to be met. With --watch the list is printed, and then what changes in it: on a terminal the list is drawn anew; ` +
	`else there is a line for each object that was added, changed or deleted, which with --json has the field "event". It goes on while etcd is away, until it is interrupted. What etcd does not tell of, flows, is looked at every two seconds.

` + "```" + `
tpctl lsp show --all --filter chassis= --filter peer=   # ports that no workload is plugged into
tpctl flows --filter 'packets>0' --sort -packets
tpctl ch show --watch --json
` + "```" + `

`

const aboutNames = `"tpctl completion bash", "zsh" or "fish" prints what makes the shell complete commands, flags, and the names of what is in etcd.

` + "```" + `
source <(tpctl completion bash)
` + "```" + `

`

const aboutFiles = config.AgentFile + `
:   Settings of this host's agent, a key a line, such as ` + "`log_level: info`" + `. A flag of the agent has its key here, with underlines for dashes, but for --host (endpoints) and --log (log\_dir). "tuplenet agent --check" prints all keys, and says whether the file is right. The agent takes changes over while it runs, where that is possible, and says in its log where not.

` + config.ClientFile + `
:   How tools, tpctl for one, reach etcd: endpoints, prefix, cacert, cert, key, user, password.

` + cnm.DefaultConfig + `
:   Settings of the plugin for Docker, in JSON.

`

// heading is a heading: level 1 is a section's.
func heading(level int, text string) string { return strings.Repeat("#", level) + " " + text + "\n\n" }

// ctlManual is the manual of tpctl, its sections at a level.
func ctlManual(level int) string {
	cmd := ctlCommand()
	prepare(cmd)
	title := func(s string) string {
		if level == 1 { // of a manual page
			s = strings.ToUpper(s)
		}
		return heading(level, s)
	}
	var b strings.Builder
	b.WriteString(title("Synopsis") + "**tpctl** [options] OBJECT VERB [arguments]\n\n")
	b.WriteString(title("Description") + aboutCtl + "\n\n")
	b.WriteString(title("Options") + flagList(cmd.Flags))
	b.WriteString(title("Lists") + aboutLists + flagList(listFlags(cmd)) + aboutConditions)
	b.WriteString(title("Completion") + aboutNames)
	b.WriteString(title("Commands"))
	all := ctl.All()
	for _, object := range cmd.Subcommands {
		if len(object.Subcommands) == 0 {
			b.WriteString(ctlEntry(level+1, all, object.Name, "", object))
		}
		for _, verb := range object.Subcommands {
			b.WriteString(ctlEntry(level+1, all, object.Name, verb.Name, verb))
		}
	}
	return b.String()
}

// ofLists are the flags that commands with lists have in common.
var ofLists = []string{"filter", "sort", "watch"}

// ctlEntry is what the manual says of one command.
func ctlEntry(level int, all []ctl.Command, object, verb string, cmd *cli.Command) string {
	flags, fields := cmd.Flags, ""
	i := slices.IndexFunc(all, func(c ctl.Command) bool { return c.Object == object && c.Verb == verb })
	if i >= 0 && len(all[i].Fields()) > 0 {
		flags = slices.DeleteFunc(slices.Clone(flags), func(f cli.Flag) bool { return slices.Contains(ofLists, f.Names()[0]) })
		fields = "A list of objects with the fields " + escape(strings.Join(all[i].Fields(), ", ")) + ".\n\n"
	}
	return entryOf(level, strings.TrimSpace("tpctl "+object+" "+verb), cmd, fields, flags)
}

// listFlags are those flags, as a command has them.
func listFlags(cmd *cli.Command) []cli.Flag {
	for _, object := range cmd.Subcommands {
		for _, verb := range object.Subcommands {
			has := slices.DeleteFunc(slices.Clone(verb.Flags), func(f cli.Flag) bool { return !slices.Contains(ofLists, f.Names()[0]) })
			if len(has) == len(ofLists) {
				return has
			}
		}
	}
	return nil
}

// hostManual is the manual of tuplenet and its modes, tpctl's apart.
func hostManual() string {
	var b strings.Builder
	b.WriteString(heading(1, "SYNOPSIS") + "**tuplenet** [agent options]\n\n**tuplenet** MODE [options] [arguments]\n\n")
	b.WriteString(heading(1, "DESCRIPTION") + "One program has all of TupleNet's parts, of which MODE names one; without it, it is the agent. tpctl(1) is its mode ctl.\n\n")
	b.WriteString(heading(1, "MODES"))
	for _, cmd := range commands() {
		if cmd.Hidden || cmd.Name == string(ModeCtl) {
			continue
		}
		prepare(cmd)
		b.WriteString(entryOf(2, "tuplenet "+cmd.Name, cmd, "", cmd.Flags))
		for _, sub := range cmd.Subcommands {
			b.WriteString(entryOf(2, "tuplenet "+cmd.Name+" "+sub.Name, sub, "", sub.Flags))
		}
	}
	b.WriteString(heading(1, "FILES") + aboutFiles)
	b.WriteString(heading(1, "SEE ALSO") + "tpctl(1), ovs-vswitchd(8), ovs-vsctl(8)\n")
	return b.String()
}

// entryOf is what the manual says of a command that is called by name, with a
// paragraph more, and of flags of it.
func entryOf(level int, name string, cmd *cli.Command, more string, flags []cli.Flag) string {
	var b strings.Builder
	b.WriteString(heading(level, strings.TrimSpace(name+" "+escape(cmd.ArgsUsage))))
	b.WriteString(sentence(cmd.Usage))
	if len(cmd.Aliases) > 0 {
		b.WriteString(" Short: " + strings.Join(cmd.Aliases, ", ") + ".")
	}
	b.WriteString("\n\n")
	text, examples, _ := strings.Cut(cmd.Description, exampleTitle)
	if text = strings.TrimSpace(text); text != "" {
		b.WriteString(escape(text) + "\n\n")
	}
	b.WriteString(more)
	if examples != "" {
		b.WriteString("```\n")
		for line := range strings.SplitSeq(examples, "\n") {
			b.WriteString(strings.TrimSpace(line) + "\n")
		}
		b.WriteString("```\n\n")
	}
	b.WriteString(flagList(flags))
	return b.String()
}

// sentence makes a sentence of a line of help.
func sentence(usage string) string {
	return escape(strings.ToUpper(usage[:1]) + usage[1:] + ".")
}

// flagList is a list of flags, each with what it does.
func flagList(flags []cli.Flag) string {
	var b strings.Builder
	for _, f := range flags {
		doc, ok := f.(cli.DocGenerationFlag)
		if v, hides := f.(cli.VisibleFlag); !ok || hides && !v.IsVisible() {
			continue
		}
		usage := doc.GetUsage()
		value := ""
		if parts := strings.SplitN(usage, "`", 3); len(parts) == 3 {
			value, usage = parts[1], strings.Join(parts, "")
		}
		var names []string
		for _, name := range f.Names() {
			dashes := "--"
			if len(name) == 1 {
				dashes = "-"
			}
			names = append(names, "**"+dashes+escape(name)+"**")
		}
		term := strings.Join(names, ", ")
		if doc.TakesValue() {
			term += " *" + escape(strings.TrimSpace(value)) + "*"
		}
		var notes []string
		if d := strings.Trim(doc.GetDefaultText(), `"`); doc.TakesValue() && d != "" {
			notes = append(notes, "default: "+d)
		}
		for _, env := range doc.GetEnvVars() {
			notes = append(notes, "environment: "+env)
		}
		text := sentence(usage)
		if len(notes) > 0 {
			text += escape(" (" + strings.Join(notes, "; ") + ")")
		}
		fmt.Fprintf(&b, "%s\n:   %s\n\n", term, text)
	}
	return b.String()
}

// escaper keeps Markdown from reading anything into a text.
var escaper = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "<", `\<`, "[", `\[`, "|", `\|`)

func escape(text string) string { return escaper.Replace(text) }
