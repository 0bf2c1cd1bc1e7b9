package settings

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// config writes a config file, and `.d` files beside it, and returns the argument that names it.
func config(t *testing.T, content string, more ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	write(t, path, content)
	for index, text := range more {
		write(t, filepath.Join(path+".d", string(rune('a'+index))+".yaml"), text)
	}
	return "--config=" + path
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestServerConfig(t *testing.T) {
	file := config(t, `
node-ip: 192.168.1.201
tls-san: [192.168.1.201, k3s-master]
secrets-encryption: true
write-kubeconfig-mode: "0640"
disable: [traefik, servicelb]
kube-apiserver-arg:
  - audit-log-maxage=30
  - audit-log-maxsize=100
`, "node-name: from-d\nkube-apiserver-arg+: [v=2]\n")
	s, err := Parse(Server, []string{file, "--node-name=from-line", "--tls-san", "10.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	if s.NodeName != "from-line" || !s.SecretsEncryption || s.WriteKubeconfigMode != "0640" || !s.Disabled("traefik") || s.Disabled("coredns") {
		t.Errorf("%+v", s)
	}
	if want := []string{"192.168.1.201", "k3s-master", "10.0.0.1"}; !slices.Equal(s.TLSNames, want) {
		t.Errorf("tls-san %q, want %q", s.TLSNames, want)
	}
	if want := []string{"audit-log-maxage=30", "audit-log-maxsize=100", "v=2"}; !slices.Equal(s.APIServerArgs, want) {
		t.Errorf("kube-apiserver-arg %q, want %q", s.APIServerArgs, want)
	}
	if s.ClusterDNS != "10.43.0.10" || s.ClusterCIDR != "10.42.0.0/16" || s.DataDir != "/var/lib/rancher/k3s" {
		t.Errorf("defaults: %q, %q, %q", s.ClusterDNS, s.ClusterCIDR, s.DataDir)
	}
}

func TestAgentTakesItsTokenFromAFile(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "token")
	write(t, secret, "abc\n")
	s, err := Parse(Agent, []string{config(t, "server: https://192.168.1.201:6443\nnode-label: [tier=a, zone=b]\ntoken-file: "+secret)})
	if err != nil || s.Token != "abc" || !slices.Equal(s.NodeLabels, []string{"tier=a", "zone=b"}) {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestRefusals(t *testing.T) {
	for _, refused := range []struct {
		role    Role
		content string
		names   string
	}{
		{Server, "nonsense: 1", "nonsense"},
		{Server, "node-name: a\nnode-name: b", "node-name"},
		{Server, "server: https://other:6443", "server"},
		{Server, "flannel-backend: wireguard-native", "flannel-backend"},
		{Server, "disable: [coredsn]", "coredsn"},
		{Server, "write-kubeconfig-mode: rw", "write-kubeconfig-mode"},
		{Server, "cluster-cidr: 10.42.0.0", "cluster-cidr"},
		{Server, "cluster-dns: 10.44.0.10", "cluster-dns"},
		{Server, "node-ip: nowhere", "node-ip"},
		{Server, "kube-apiserver-arg: {v: 2}", "kube-apiserver-arg"},
		{Agent, "token: abc", "server"},
		{Agent, "server: https://a:6443", "token"},
		{Agent, "server: http://a:6443\ntoken: abc", "server"},
		{Agent, "server: https://a:6443\ntoken: abc\ncluster-cidr: 10.42.0.0/16", "cluster-cidr"},
	} {
		if _, err := Parse(refused.role, []string{config(t, refused.content)}); err == nil {
			t.Errorf("%s took %q", refused.role, refused.content)
		} else if !strings.Contains(err.Error(), refused.names) {
			t.Errorf("%s on %q does not name %s: %v", refused.role, refused.content, refused.names, err)
		}
	}
	if _, err := Parse(Server, []string{"--config=/nowhere/at/all"}); err == nil {
		t.Error("a config file that is not there was taken")
	}
}
