package modes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"

	"tuplenet/internal/store"
)

func TestEtcdConfig(t *testing.T) {
	const file = `
endpoints: [file1:2379, "file2:2379"]
prefix: /file
cacert: file-ca.pem
cert: file-cert.pem
key: file-key.pem
user: file-user
password: 12345
`
	fromFile := store.Config{
		Endpoints: []string{"file1:2379", "file2:2379"}, Prefix: "/file",
		CAFile: "file-ca.pem", CertFile: "file-cert.pem", KeyFile: "file-key.pem",
		Username: "file-user", Password: "12345",
	}
	initial := store.Config{Endpoints: []string{"localhost:2379"}, Prefix: "/tuplenet"}
	for _, tt := range []struct {
		name string
		args string
		env  map[string]string
		file string
		want store.Config
		err  string // a part of the error
	}{
		{name: "defaults", want: initial},
		{name: "file", file: file, want: fromFile},
		{
			name: "environment before file", file: file,
			env: map[string]string{
				"TUPLENET_ENDPOINTS": "env:2379", "TUPLENET_PREFIX": "/env", "TUPLENET_CACERT": "env-ca.pem", "TUPLENET_CERT": "env-cert.pem",
				"TUPLENET_KEY": "env-key.pem", "TUPLENET_USER": "env-user", "TUPLENET_PASSWORD": "env-password",
			},
			want: store.Config{
				Endpoints: []string{"env:2379"}, Prefix: "/env",
				CAFile: "env-ca.pem", CertFile: "env-cert.pem", KeyFile: "env-key.pem", Username: "env-user", Password: "env-password",
			},
		},
		{
			name: "flags before environment",
			args: "--host flag1:2379,flag2:2379 --prefix /flag --cacert ca --cert cert --key key --user root:a:b",
			env:  map[string]string{"TUPLENET_ENDPOINTS": "env:2379", "TUPLENET_PREFIX": "/env", "TUPLENET_CERT": "env-cert.pem"},
			want: store.Config{
				Endpoints: []string{"flag1:2379", "flag2:2379"}, Prefix: "/flag",
				CAFile: "ca", CertFile: "cert", KeyFile: "key", Username: "root", Password: "a:b",
			},
		},
		{name: "short flags", args: "-a h:1 -p /p", want: store.Config{Endpoints: []string{"h:1"}, Prefix: "/p"}},
		{name: "empty environment is none", env: map[string]string{"TUPLENET_ENDPOINTS": "", "TUPLENET_PREFIX": ""}, want: initial},
		{name: "blanks and empty endpoints", env: map[string]string{"TUPLENET_ENDPOINTS": " a:1 ,, b:2 "}, want: store.Config{Endpoints: []string{"a:1", "b:2"}, Prefix: "/tuplenet"}},
		{
			name: "a password of its own before the user's", args: "--user root:old --password new",
			want: store.Config{Endpoints: []string{"localhost:2379"}, Prefix: "/tuplenet", Username: "root", Password: "new"},
		},
		{name: "user without password", args: "--user root", err: "user and password belong together"},
		{name: "password without user", args: "--password secret", err: "user and password belong together"},
		{name: "key without certificate", args: "--key k.pem", err: "cert and key belong together"},
		{name: "unknown key", file: "endpoints: a\nendpoint: b\n", err: `line 2: unknown key "endpoint"; did you mean "endpoints"?`},
		{name: "list where one value belongs", file: "prefix: [a, b]", err: "prefix:"},
		{name: "no mapping", file: "- a\n", err: "read the settings of etcd in"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "client.yaml")
			if err := os.WriteFile(path, []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("TUPLENET_CONFIG", path)
			for _, s := range etcdSettings {
				t.Setenv(s.env, tt.env[s.env])
			}
			var got store.Config
			var failed error
			app := &cli.App{
				Flags:  etcdFlags("host", "a"),
				Action: func(c *cli.Context) error { got, failed = etcdConfig(c, "host"); return nil },
			}
			if err := app.Run(append([]string{"agent"}, strings.Fields(tt.args)...)); err != nil {
				t.Fatal(err)
			}
			if tt.err != "" {
				if failed == nil || !strings.Contains(failed.Error(), tt.err) {
					t.Fatalf("error %v, want one with %q", failed, tt.err)
				}
				return
			}
			if failed != nil {
				t.Fatal(failed)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
		})
	}
}
