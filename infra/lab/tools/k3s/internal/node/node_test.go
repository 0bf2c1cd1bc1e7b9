package node

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSubnetIsTheNetworkNotTheBridge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "subnet.env")
	for content, want := range map[string]string{
		"FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.1.1/24\nFLANNEL_MTU=1450\n": "10.42.1.0/24",
		"FLANNEL_SUBNET=10.42.1.1/24\n": "",
		"FLANNEL_MTU=1450\n":            "",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, _, err := readSubnet(path)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", content, got, err)
		}
	}
}

func TestCNIConfig(t *testing.T) {
	content, err := cniConfig("10.42.1.0/24", 1450, "10.42.0.0/16")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Plugins []struct {
			Type string
			MTU  int
			IPAM struct {
				Ranges [][]struct{ Subnet string }
				Routes []struct{ Dst string }
			}
		}
	}
	if err := json.Unmarshal(content, &config); err != nil {
		t.Fatal(err)
	}
	bridge := config.Plugins[0]
	if bridge.Type != "bridge" || bridge.MTU != 1450 || bridge.IPAM.Ranges[0][0].Subnet != "10.42.1.0/24" || bridge.IPAM.Routes[0].Dst != "10.42.0.0/16" {
		t.Errorf("%s", content)
	}
}

func TestResolverOfNoUseToPods(t *testing.T) {
	for content, usable := range map[string]bool{
		"nameserver 192.168.1.1\n":                        true,
		"# nameserver 1.1.1.1\nnameserver 127.0.0.53\n":   false,
		"nameserver 127.0.0.53\nnameserver 192.168.1.1\n": true,
		"search lan\n": false,
	} {
		if got := usableResolver(bufio.NewScanner(strings.NewReader(content))); got != usable {
			t.Errorf("%q: %v", content, got)
		}
	}
}

func TestOnlyArchivesAreImages(t *testing.T) {
	for name, want := range map[string]bool{"a.tar": true, "a.tar.gz": true, "a.tgz": true, "a.tar.zst": true, ".a.tar": false, "a.tar.partial": false, "a.json": false} {
		if isArchive(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}
