package modes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"tuplenet/embedded"
)

// memberPatience is how long a change of etcd's members may take. After another
// change etcd allows none for five seconds; a new member has to get all data.
const memberPatience = time.Minute

// etcdTools are the commands of etcd's operator.
func etcdTools() []*cli.Command {
	access := slices.DeleteFunc(etcdFlags("endpoints", "e"), func(f cli.Flag) bool {
		return f.Names()[0] == "prefix" // they are about all of etcd
	})
	restore := slices.DeleteFunc(etcdServerFlags(), func(f cli.Flag) bool {
		return !slices.Contains([]string{"name", "data-dir", "listen-peer", "advertise-peer", "initial-cluster"}, f.Names()[0])
	})
	asJSON := &cli.BoolFlag{Name: "json", Aliases: []string{"j"}, Usage: "print one JSON object a line", DisableDefaultText: true}
	restore = append(restore, asJSON, &cli.BoolFlag{Name: "open", DisableDefaultText: true,
		Usage: "have etcd ask nobody who he is: to look into a backup of one with users"})
	return []*cli.Command{
		{
			Name: "backup", ArgsUsage: "FILE", Usage: "write all that a running etcd holds into a file",
			Description: "The file is whole: it is checked before it gets its name, and replaces an older one then. Any etcd serves,\n" +
				"from 3.4 on, and a member that has lost the others of its cluster, too. Where etcd has users, it takes root.\n" +
				"An etcd that is stopped needs none: tuplenet etcd restore takes its data directory.\n\n" +
				example("tuplenet etcd backup /var/backups/tuplenet-etcd.backup",
					"tuplenet etcd backup -e https://192.168.1.10:2379 --cacert ca.pem --cert root.pem --key root.key tuplenet-etcd.backup"),
			Flags: append(slices.Clone(access), asJSON), Action: runBackup,
		},
		{
			Name: "restore", ArgsUsage: "FILE", Usage: "make an empty data directory hold what a backup does",
			Description: "etcd is started with the same settings then. Each member of a cluster is restored so, from the same file;\n" +
				"members that ran before have to be stopped. Without --initial-cluster it becomes a cluster of its own. A backup\n" +
				"that etcdctl has taken serves, too, and so does the data directory of an etcd that is stopped.\n\n" +
				example("tuplenet etcd restore /var/backups/tuplenet-etcd.backup --data-dir /var/lib/tuplenet/etcd",
					"tuplenet etcd restore tuplenet-etcd.backup --name a --listen-peer http://192.168.1.10:2380 \\",
					"    --initial-cluster a=http://192.168.1.10:2380,b=http://192.168.1.11:2380,c=http://192.168.1.12:2380"),
			Flags: restore, Action: runRestore,
		},
		{
			Name: "members", Usage: "list the members of etcd's cluster",
			Description: "How they are tpctl status tells.\n\n" + example("tuplenet etcd members"),
			Flags:       append(slices.Clone(access), asJSON),
			Action: withMembers(0, func(ctx context.Context, c *cli.Context, admin *embedded.Admin) error {
				all, err := admin.Members(ctx)
				for _, m := range all {
					printMember(c, m)
				}
				return err
			}),
		},
		{
			Name: "add-member", ArgsUsage: "NAME PEER-URL", Usage: "add a member to etcd's cluster",
			Description: "It prints the settings that the new member is to be started with. It has no vote until promote-member\n" +
				"gives it one, so that the cluster does not wait for it meanwhile.\n\n" +
				example("tuplenet etcd add-member b http://192.168.1.11:2380"),
			Flags: access,
			Action: withMembers(2, func(ctx context.Context, c *cli.Context, admin *embedded.Admin) error {
				name, url := c.Args().Get(0), c.Args().Get(1)
				cluster, err := admin.AddMember(ctx, name, url)
				if err == nil {
					fmt.Fprintf(c.App.Writer, "TUPLENET_ETCD_NAME=%s\nTUPLENET_ETCD_LISTEN_PEER=%s\nTUPLENET_ETCD_INITIAL_CLUSTER=%s\nTUPLENET_ETCD_INITIAL_CLUSTER_STATE=existing\n", name, url, cluster)
					fmt.Fprintf(c.App.ErrWriter, "next: start it with these settings, then: tuplenet etcd promote-member %s\n", name)
				}
				return err
			}),
		},
		{
			Name: "promote-member", ArgsUsage: "NAME", Usage: "give a new member of etcd's cluster a vote",
			Description: "It waits until the member has all data, for a minute.\n\n" + example("tuplenet etcd promote-member b"),
			Flags:       access,
			Action: withMembers(1, func(ctx context.Context, c *cli.Context, admin *embedded.Admin) error {
				err := admin.PromoteMember(ctx, c.Args().First())
				if errors.Is(err, embedded.ErrHasVote) {
					return say(c, nil, "%s", err)
				}
				return say(c, err, "member %s has a vote", c.Args().First())
			}),
		},
		{
			Name: "move-member", ArgsUsage: "NAME PEER-URL", Usage: "tell etcd's cluster of another address of a member",
			Description: "Then the member is started anew, with that address as --listen-peer or --advertise-peer. A warning says if\n" +
				"nobody listens there yet.\n\n" +
				example("tuplenet etcd move-member a http://192.168.1.10:2380"),
			Flags: access,
			Action: withMembers(2, func(ctx context.Context, c *cli.Context, admin *embedded.Admin) error {
				name, url := c.Args().Get(0), c.Args().Get(1)
				if err := admin.UpdateMember(ctx, name, url); err != nil {
					return err
				}
				if !listens(url) {
					fmt.Fprintf(c.App.ErrWriter, "warning: nobody listens at %s yet, as seen from here: until member %s is started with that address, the others are without it\n", url, name)
				}
				return say(c, nil, "the others will find member %s at %s", name, url)
			}),
		},
		{
			Name: "remove-member", ArgsUsage: "NAME", Usage: "take a member out of etcd's cluster",
			Description: "One that has never been started goes by its peer URL. The data directory of a member that was removed is of\n" +
				"no use any more, also to itself: if it is to come back, it is added as a new one, with an empty directory.\n\n" +
				example("tuplenet etcd remove-member b"),
			Flags: access,
			Action: withMembers(1, func(ctx context.Context, c *cli.Context, admin *embedded.Admin) error {
				return say(c, admin.RemoveMember(ctx, c.Args().First()), "member %s removed", c.Args().First())
			}),
		},
	}
}

// printMember tells of a member of etcd's cluster.
func printMember(c *cli.Context, m embedded.Member) {
	if c.Bool("json") {
		printJSON(c, struct {
			Name    string   `json:"name"` // empty until it has been started
			Peers   []string `json:"peers"`
			Clients []string `json:"clients"`
			Learner bool     `json:"learner"`
		}{m.Name, m.PeerURLs, append([]string{}, m.ClientURLs...), m.Learner})
		return
	}
	vote := ""
	if m.Learner {
		vote = " (no vote yet)"
	}
	fmt.Fprintf(c.App.Writer, "%s: peers %s, clients %s%s\n", cmp.Or(m.Name, "(not started)"), list(m.PeerURLs), list(m.ClientURLs), vote)
}

// printJSON prints what can be written as JSON, on a line.
func printJSON(c *cli.Context, line any) error { return json.NewEncoder(c.App.Writer).Encode(line) }

// listens reports whether somebody takes connections at a peer URL.
func listens(peer string) bool {
	u, err := url.Parse(peer)
	if err != nil {
		return false
	}
	conn, err := net.DialTimeout("tcp", u.Host, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

func list(all []string) string {
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ",")
}

// say prints what was done, unless err is what became of it.
func say(c *cli.Context, err error, format string, args ...any) error {
	if err == nil {
		fmt.Fprintf(c.App.Writer, format+"\n", args...)
	}
	return err
}

// withMembers returns the action of a command with so many arguments that works on
// the members of a running etcd.
func withMembers(args int, do func(context.Context, *cli.Context, *embedded.Admin) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := takes(c, args); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(c.Context, memberPatience)
		defer cancel()
		admin, err := etcdAdmin(ctx, c)
		if err != nil {
			return err
		}
		defer admin.Close()
		return do(ctx, c, admin)
	}
}

// takes refuses another number of arguments than a command takes.
func takes(c *cli.Context, args int) error {
	if c.Args().Len() != args {
		return fmt.Errorf("etcd %s requires %s (see %s --help)", strings.TrimSpace(c.Command.Name+" "+c.Command.ArgsUsage), arguments(args), c.Command.HelpName)
	}
	return nil
}

func arguments(n int) string {
	if n == 1 {
		return "one argument"
	}
	return fmt.Sprint([]string{0: "no", 2: "two"}[n], " arguments")
}

// etcdAdmin connects to the etcd that flags, the environment or the file of tpctl
// name.
func etcdAdmin(ctx context.Context, c *cli.Context) (*embedded.Admin, error) {
	cfg, err := etcdConfig(c, c.App.ErrWriter)
	if err != nil {
		return nil, err
	}
	return embedded.Connect(ctx, embedded.Access{Endpoints: cfg.Endpoints, CAFile: cfg.CAFile, CertFile: cfg.CertFile, KeyFile: cfg.KeyFile,
		Username: cfg.Username, Password: cfg.Password})
}

func runBackup(c *cli.Context) error {
	if err := takes(c, 1); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	admin, err := etcdAdmin(ctx, c)
	if errors.Is(err, embedded.ErrNotServing) {
		return fmt.Errorf("%w; of one that is stopped its data directory serves as a backup: tuplenet etcd restore DIRECTORY --data-dir NEW", err)
	}
	if err != nil {
		return err
	}
	defer admin.Close()
	file := c.Args().First()
	b, err := admin.Backup(ctx, file, progressOn(c.App.ErrWriter))
	if err == nil && c.Bool("json") {
		return printJSON(c, struct {
			File string `json:"file"`
			held
		}{file, heldBy(b)})
	}
	return say(c, err, "%s: %s", file, contents(b))
}

// held is what a backup holds, as JSON has it.
type held struct {
	Keys     int   `json:"keys"`
	Revision int64 `json:"revision"`
	Bytes    int64 `json:"bytes"`
}

func heldBy(b embedded.Backup) held { return held{b.Keys, b.Revision, b.Size} }

func contents(b embedded.Backup) string {
	return fmt.Sprintf("%d keys at revision %d, %s", b.Keys, b.Revision, humanize.Bytes(uint64(b.Size)))
}

// progressOn returns what tells a person who sits at a terminal how far a backup is,
// twice a second; elsewhere nobody is told.
func progressOn(w io.Writer) func(bytes, of int64) {
	if f, ok := w.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	next := time.Now().Add(time.Second)
	return func(bytes, of int64) {
		if time.Now().After(next) {
			next = time.Now().Add(time.Second / 2)
			fmt.Fprintf(w, "%s of about %s\r", humanize.Bytes(uint64(bytes)), humanize.Bytes(uint64(of)))
		}
	}
}

func runRestore(c *cli.Context) error {
	if err := takes(c, 1); err != nil {
		return err
	}
	file, cfg := c.Args().First(), etcdServerConfig(c)
	restore := embedded.Restore
	if c.Bool("open") {
		restore = embedded.RestoreOpen
	}
	b, err := restore(file, cfg)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, struct {
			DataDir string `json:"data_dir"`
			File    string `json:"file"`
			held
			Member  string `json:"member"`
			Cluster string `json:"initial_cluster"` // empty: it is alone
		}{cfg.DataDir, file, heldBy(b), cfg.Name, cfg.InitialCluster})
	}
	fmt.Fprintf(c.App.Writer, "%s holds %s of %s\n", cfg.DataDir, contents(b), file)
	if c.Bool("open") {
		fmt.Fprintln(c.App.ErrWriter, "warning: started with it, etcd asks nobody who he is; let it listen where nobody else gets at it, or switch that on again with tpctl auth enable")
	}
	next := "start etcd with this data directory; member " + cfg.Name + " is a cluster of its own (to be one of several it is restored with --initial-cluster)"
	if strings.Contains(cfg.InitialCluster, ",") {
		next = "restore the same file on the other members of " + cfg.InitialCluster + ", too, then start all of them"
	}
	fmt.Fprintln(c.App.ErrWriter, "next: "+next)
	return nil
}
