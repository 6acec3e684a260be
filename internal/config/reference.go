package config

import (
	"cmp"
	"fmt"
	"strings"
)

const aboutExample = `# Settings of this host's agent. Each line that has a # in front of a key shows the
# default; take the # away to set it. Flags and the environment count before this file.
#
# A change is taken over when the file is written, or on SIGHUP, where it says "live";
# the rest counts when the agent is started anew. "tuplenet agent --check" says whether
# all is right and where each value comes from. docs/configuration.md tells more.
#
# The file may hold a password: if it does, only root should be able to read it.
`

// Example returns the packaged example of an agent's file: every setting, commented
// out, with its default.
func Example() string {
	var b strings.Builder
	b.WriteString(aboutExample)
	group := ""
	for _, s := range Agent() {
		if s.Group != group {
			group = s.Group
			fmt.Fprintf(&b, "\n## %s\n", group)
		}
		b.WriteString("\n")
		for _, line := range wrap(s.sentence(), 85) {
			b.WriteString("# " + line + "\n")
		}
		fmt.Fprintf(&b, "# (%s%s)\n", s.Env, s.effect(", live", ""))
		b.WriteString(strings.TrimRight(fmt.Sprintf("#%s: %s", s.Key, s.Default), " ") + "\n")
	}
	return b.String()
}

// sentence is what the setting does.
func (s Setting) sentence() string {
	text := strings.ReplaceAll(s.Usage, "`", "")
	if other := cmp.Or(s.Instead, s.From); other != "" {
		text += "; if it is not set, " + other
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// effect returns how it is said that a setting is taken over while the agent runs, or
// only at its start.
func (s Setting) effect(live, start string) string {
	if s.Live {
		return live
	}
	return start
}

// wrap breaks a text into lines of at most so many bytes, where its words allow it.
func wrap(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimLeft(line+" "+word, " ")
	}
	return append(lines, line)
}

const aboutReference = `# Settings of the agent

<!-- Written by make man, from the table of settings. -->

An agent, be it ` + "`tuplenet`, `tuplenet agent` or `tuplenet gateway`" + `, finds its settings by flags, by its environment, and in the file
/etc/tuplenet/agent.yaml, in this order: what a flag says counts, else what the environment says, else what the file says, else the
default. An empty variable is none; an empty flag (` + "`--ipfix-collector=`" + `) is the default, whatever the others say.

` + "```yaml" + `
# agent.yaml
endpoints: [192.168.1.10:2379, 192.168.1.11:2379]
interface: eth0
hash_fn: symmetric_l3l4
ipfix_collector: 192.168.1.1:4739
log_level: info
` + "```" + `

The file is YAML, a key a line; what may have several values takes a list, too. A key that there is not, a key that stands there twice and
a value that cannot be are errors, each with its line. ` + "`--config`" + ` (TUPLENET_CONFIG) names another file. The package's
[agent.yaml](../packaging/etc/agent.yaml) has every setting with its default, all commented out. In the environment switches are 1 or
0, in the file ` + "`true` or `false`" + `. YAML wants quotes around what begins with a bracket: ` + "`ipfix_collector: \"[2001:db8::9]:4739\"`" + `.

` + "`tuplenet doctor`, `tuplenet cleanup` and `tpctl flows`" + ` look into the same file for where the agent and Open vSwitch have their files, the doctor
for etcd and the tunnels' address, too. tpctl finds etcd in /etc/tuplenet/client.yaml, which takes the keys of the section "etcd" below; it passes
over an agent's other keys.

## Is it right? ` + "`tuplenet agent --check`" + `

` + "```console" + `
$ HASH_FN=eth_src tuplenet agent --check
KEY              VALUE                                SOURCE                        TAKEN OVER
endpoints        192.168.1.10:2379,192.168.1.11:2379  /etc/tuplenet/agent.yaml:2    at the start
...
hash_fn          eth_src                              HASH_FN                       live

note /etc/tuplenet/agent.yaml:4 has symmetric_l3l4 as hash_fn, but HASH_FN counts before it
ok  the configuration can be used
` + "```" + `

It takes the flags and the environment that it is called with, so call it as the agent is called, as ` + "`tuplenet gateway --check`" + ` on an edge. It reads the file, and
certificates that it names, changes nothing, needs neither etcd nor Open vSwitch nor an agent, and shows no passwords. What cannot be is told in lines
that begin with BAD, all of it at once, and then the exit status is 1. With ` + "`--json`" + ` there is an object a line: ` +
	"`key`, `value`, `source` (`flag`, `environment`, `file`, `mode` or `default`), `where`, `live`, `behind` (what counts for less and says something else) and `note`; for each problem `problem`, `key` and `where`." + `

## Changes while the agent runs

The agent reads its file again when that was written, replaced by another, or when it gets SIGHUP. What says "live" below it takes over at once, without
losing a packet, as an agent would have it that starts with these settings. Its log tells what has changed, and what has to wait until the agent is started anew:

    level=INFO msg="the configuration has changed" file=/etc/tuplenet/agent.yaml hash_fn="nw_dst -> eth_src"
    level=WARN msg="settings have changed that the agent takes over when it is started anew" settings="metrics: none -> 9481"

A restart of the agent leaves flows in place and loses no packet either. A file that cannot be used changes nothing at all, and the log says why, once. What a flag or a variable says
goes on counting before the file. That agent.yaml was deleted is not taken over by itself, as editors delete files to replace them: SIGHUP does that; a file that ` + "`--config`" + ` names has to be there.
Where the directory of the file is made only while the agent runs, SIGHUP has it read, too.

## All settings

`

// Reference returns docs/configuration.md.
func Reference() string {
	var b strings.Builder
	b.WriteString(aboutReference)
	group := ""
	for _, s := range Agent() {
		if s.Group != group {
			if group != "" {
				b.WriteString("\n")
			}
			group = s.Group
			fmt.Fprintf(&b, "### %s\n\n| key | flag | environment | default | taken over | |\n|---|---|---|---|---|---|\n", group)
		}
		initial := ""
		if s.Default != "" {
			initial = "`" + s.Default + "`"
		}
		flags := "`--" + s.Flag + "`"
		for _, alias := range s.Aliases {
			flags += ", `-" + alias + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", s.Key, flags, s.Env, initial, s.effect("live", "at the start"), escape.Replace(s.sentence()))
	}
	return b.String()
}

// escape keeps Markdown from reading anything into a cell.
var escape = strings.NewReplacer("_", `\_`, "*", `\*`, "|", `\|`, "<", `\<`, "[", `\[`)
