package node

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"gorkheavy.dev/lab/k3s/internal/layout"
	"gorkheavy.dev/lab/k3s/internal/process"
)

// pluginDirs are where CNI plugins may lie: Debian's, then the upstream's place.
var pluginDirs = []string{"/usr/lib/cni", "/opt/cni/bin"}

const containerdWait = 60 * time.Second

// containerd writes the configuration of the machine's containerd and describes its process. It has a socket, a root and
// a state of its own, so that a containerd that the machine runs for itself is not touched.
func containerd(dir layout.Layout, pauseImage string) (process.Process, error) {
	path, err := exec.LookPath("containerd")
	if err != nil {
		return process.Process{}, errors.New("containerd is not installed: the lab's k3s runs pods with the machine's own (Debian package containerd)")
	}
	config := dir.Agent("etc", "containerd", "config.toml")
	plugins := pluginDirs[0]
	for _, candidate := range pluginDirs {
		if _, err := os.Stat(filepath.Join(candidate, "bridge")); err == nil {
			plugins = candidate
			break
		}
	}
	content := fmt.Sprintf(`# Written by k3s at every start.
version = 2
root = %q
state = %q

[grpc]
  address = %q

[plugins."io.containerd.internal.v1.opt"]
  path = %q

[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
  stream_server_port = "10010"
  enable_selinux = false
  sandbox_image = %q
  # Negative scores need CAP_SYS_RESOURCE over the whole kernel, which a machine of the lab has not.
  restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = %q
  disable_snapshot_annotations = true

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = %q
  conf_dir = %q

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = %q
`, dir.Agent("containerd"), filepath.Join(layout.RunDir, "containerd"), layout.ContainerdSocket, dir.Agent("containerd", "opt"),
		pauseImage, snapshotter(dir.Agent("containerd")), plugins, cniConfigDir(dir), dir.Agent("etc", "containerd", "certs.d"))
	if err := layout.WriteFile(config, []byte(content), 0o600); err != nil {
		return process.Process{}, err
	}
	return process.Process{Name: "containerd", Path: path, Args: []string{"--config", config, "--log-level", "warn"}}, nil
}

// snapshotter is overlayfs where the file system can carry it, else the slow one that copies.
func snapshotter(root string) string {
	if err := tryOverlay(root); err != nil {
		log.Printf("overlayfs does not work below %s (%v): images are copied for each container, which is slow", root, err)
		return "native"
	}
	return "overlayfs"
}

func tryOverlay(root string) error {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return err
	}
	trial, err := os.MkdirTemp(root, ".overlay-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(trial)
	at := func(name string) string { return filepath.Join(trial, name) }
	for _, name := range []string{"lower1", "lower2", "upper", "work", "merged"} {
		if err := os.Mkdir(at(name), 0o700); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=%s:%s,upperdir=%s,workdir=%s", at("lower2"), at("lower1"), at("upper"), at("work"))
	if err := unix.Mount("overlay", at("merged"), "overlay", 0, options); err != nil {
		return err
	}
	return unix.Unmount(at("merged"), 0)
}

// ctr runs the machine's containerd client on k3s' containerd.
func ctr(ctx context.Context, arguments ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, "ctr", append([]string{"--address", layout.ContainerdSocket, "--namespace", "k8s.io"}, arguments...)...)
	output, err := command.CombinedOutput()
	if err != nil {
		return output, fmt.Errorf("ctr %s: %w: %s", arguments[0], err, output)
	}
	return output, nil
}

func waitForContainerd(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, containerdWait)
	defer cancel()
	for {
		_, err := ctr(ctx, "version")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("containerd did not answer within %s: %w", containerdWait, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
