package runtimes

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// containerdFiles configure containerd on a machine: everything is where it is
// by default, but the image is ours, also of what holds a pod's namespaces.
var containerdFiles = map[string]string{
	"/etc/containerd/config.toml": `
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + image + `"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
`,
	// The plugin behind a note of how it was called.
	"/opt/cni/bin/noted": `#!/bin/sh
echo "$CNI_COMMAND $CNI_IFNAME in ${CNI_NETNS:-nowhere}" >>/var/log/noted
exec /opt/cni/bin/tpcni
`,
	"/etc/cni/net.d/tpcni.conf": strings.NewReplacer(`"type": "tpcni"`, `"type": "noted", "capabilities": {"io.kubernetes.cri.pod-annotations": true}`).Replace(tutorial),
}

// kubelet does on a machine what the real one does there: it tells containerd
// what to run, by the CRI.
type kubelet struct {
	*machine
	containerd *exec.Cmd
	conn       *grpc.ClientConn
	runtime    cri.RuntimeServiceClient
}

// newKubelet starts containerd and loads the image.
func newKubelet(m *machine, image []byte) *kubelet {
	m.t.Helper()
	k := &kubelet{machine: m}
	for file, content := range containerdFiles {
		m.write(file, content)
	}
	m.write("/tmp/busybox.tar", string(image))
	k.start()
	m.run("ctr", "--namespace", "k8s.io", "images", "import", "--snapshotter", "native", "/tmp/busybox.tar")
	return k
}

// start starts containerd and waits until it answers.
func (k *kubelet) start() {
	k.t.Helper()
	log, err := os.OpenFile(k.path("/var/log/containerd"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		k.t.Fatal(err)
	}
	defer log.Close()
	k.containerd = k.command(context.Background(), "containerd", "--log-level", "warn") // it ends with the machine
	k.containerd.Stdout, k.containerd.Stderr = log, log
	if err := k.containerd.Start(); err != nil {
		k.t.Fatal(err)
	}
	k.conn, err = grpc.NewClient("unix://"+k.path("/run/containerd/containerd.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		k.t.Fatal(err)
	}
	k.runtime = cri.NewRuntimeServiceClient(k.conn)
	ctx, cancel := context.WithTimeout(k.t.Context(), patience)
	defer cancel()
	if _, err := k.runtime.Version(ctx, &cri.VersionRequest{}, grpc.WaitForReady(true)); err != nil {
		out, _ := os.ReadFile(k.path("/var/log/containerd"))
		k.t.Fatalf("containerd of %s does not answer: %v\n%s", k.name, err, out)
	}
}

// restart kills containerd, not its containers, and starts it again.
func (k *kubelet) restart() {
	k.t.Helper()
	k.conn.Close()
	k.run("pkill", "-KILL", "-x", "containerd") // there are the machine's own processes only
	k.containerd.Wait()
	k.start()
}

// pod is a sandbox with one container.
type pod struct {
	k                  *kubelet
	sandbox, container string
	address            string
}

// runPod starts a pod.
func (k *kubelet) runPod(name string, annotations map[string]string) *pod {
	k.t.Helper()
	p, err := k.tryPod(name, annotations)
	if err != nil {
		k.t.Fatal(err)
	}
	return p
}

func (k *kubelet) tryPod(name string, annotations map[string]string) (*pod, error) {
	ctx, cancel := context.WithTimeout(k.t.Context(), patience)
	defer cancel()
	config := &cri.PodSandboxConfig{
		Metadata:    &cri.PodSandboxMetadata{Name: name, Uid: name + "-uid", Namespace: "default"},
		Annotations: annotations,
		Linux:       &cri.LinuxPodSandboxConfig{CgroupParent: "/" + k.cgroup()},
	}
	sandbox, err := k.runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: config})
	if err != nil {
		return nil, fmt.Errorf("pod %s: %w", name, err)
	}
	p := &pod{k: k, sandbox: sandbox.PodSandboxId}
	created, err := k.runtime.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: p.sandbox, SandboxConfig: config, Config: &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: "main"},
		Image:    &cri.ImageSpec{Image: image},
	}})
	if err != nil {
		return nil, fmt.Errorf("pod %s: create its container: %w", name, err)
	}
	p.container = created.ContainerId
	if _, err := k.runtime.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: p.container}); err != nil {
		return nil, fmt.Errorf("pod %s: start its container: %w", name, err)
	}
	p.address = p.status().Network.GetIp()
	return p, nil
}

// status returns what containerd tells of the pod.
func (p *pod) status() *cri.PodSandboxStatus {
	p.k.t.Helper()
	answer, err := p.k.runtime.PodSandboxStatus(p.k.t.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: p.sandbox})
	if err != nil {
		p.k.t.Fatal(err)
	}
	return answer.Status
}

// exec runs a command in the pod's container and returns what it prints.
func (p *pod) exec(argv ...string) string {
	p.k.t.Helper()
	answer, err := p.k.runtime.ExecSync(p.k.t.Context(), &cri.ExecSyncRequest{ContainerId: p.container, Cmd: argv, Timeout: int64(patience.Seconds())})
	if err != nil {
		p.k.t.Fatalf("%v: %v", argv, err)
	}
	if answer.ExitCode != 0 {
		p.k.t.Errorf("%v ends with %d: %s%s", argv, answer.ExitCode, answer.Stdout, answer.Stderr)
	}
	return string(answer.Stdout)
}

// ping pings from the pod, once: the first packet is not to be lost.
func (p *pod) ping(to string) {
	p.k.t.Helper()
	p.exec("ping", "-c", "1", "-W", "2", to)
}

// stop stops the pod.
func (p *pod) stop() {
	p.k.t.Helper()
	if _, err := p.k.runtime.StopPodSandbox(p.k.t.Context(), &cri.StopPodSandboxRequest{PodSandboxId: p.sandbox}); err != nil {
		p.k.t.Fatal(err)
	}
}

// remove removes the pod, which is stopped by that if it was not.
func (p *pod) remove() {
	p.k.t.Helper()
	if _, err := p.k.runtime.RemovePodSandbox(p.k.t.Context(), &cri.RemovePodSandboxRequest{PodSandboxId: p.sandbox}); err != nil {
		p.k.t.Fatal(err)
	}
}
