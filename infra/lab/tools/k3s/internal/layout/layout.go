// Package layout names every file that the lab's K3s keeps, at the places where K3s keeps them.
package layout

import (
	"os"
	"path/filepath"
)

const (
	// ConfigFile is read when --config is not given.
	ConfigFile = "/etc/rancher/k3s/config.yaml"
	// Kubeconfig is the administrator's kubeconfig that a server writes.
	Kubeconfig = "/etc/rancher/k3s/k3s.yaml"
	// NodeDir keeps the node's password and, with --with-node-id, its id.
	NodeDir = "/etc/rancher/node"
	// RunDir keeps what must not outlive a reboot.
	RunDir = "/run/k3s"
	// ContainerdSocket is where containerd listens.
	ContainerdSocket = "/run/k3s/containerd/containerd.sock"
	// SubnetFile is flannel's description of this node's pod subnet.
	SubnetFile = "/run/flannel/subnet.env"
	// DataDir is the default of --data-dir.
	DataDir = "/var/lib/rancher/k3s"
)

// Layout is rooted in one data directory.
type Layout struct{ DataDir string }

// Server joins path to the server's directory.
func (l Layout) Server(path ...string) string {
	return filepath.Join(append([]string{l.DataDir, "server"}, path...)...)
}

// TLS joins path to the server's directory of keys.
func (l Layout) TLS(path ...string) string {
	return l.Server(append([]string{"tls"}, path...)...)
}

// Agent joins path to the agent's directory.
func (l Layout) Agent(path ...string) string {
	return filepath.Join(append([]string{l.DataDir, "agent"}, path...)...)
}

// WriteFile replaces path in one step, so that a crash leaves the old or the new content, never half of it.
func WriteFile(path string, content []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	part, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(part.Name())
	if err := part.Chmod(mode); err != nil {
		part.Close()
		return err
	}
	if _, err := part.Write(content); err != nil {
		part.Close()
		return err
	}
	if err := part.Sync(); err != nil {
		part.Close()
		return err
	}
	if err := part.Close(); err != nil {
		return err
	}
	return os.Rename(part.Name(), path)
}
