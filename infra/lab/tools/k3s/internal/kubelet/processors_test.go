package kubelet

import (
	"os"
	"reflect"
	"testing"

	info "github.com/google/cadvisor/info/v1"
)

func TestProcessorsThatTheHostHasNotAreRenumbered(t *testing.T) {
	node := info.Node{Cores: []info.Core{{Id: 0, Threads: []int{0}}, {Id: 1, Threads: []int{1}}, {Id: 2, Threads: []int{2}}, {Id: 3, Threads: []int{3}}}}
	for _, c := range []struct{ allowed, want []int }{
		{[]int{0, 1}, []int{0, 1, 0, 1}},
		{[]int{0, 1, 2, 3}, []int{0, 1, 2, 3}},
		{[]int{4, 5, 6, 7}, []int{4, 5, 6, 7}},
	} {
		var got []int
		for _, core := range renumber([]info.Node{node}, c.allowed)[0].Cores {
			got = append(got, core.Threads...)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("allowed %v: %v, want %v", c.allowed, got, c.want)
		}
	}
	if node.Cores[2].Threads[0] != 2 {
		t.Error("the machine's own topology was changed")
	}
}

func TestFlagsWinOverTheFile(t *testing.T) {
	path := t.TempDir() + "/kubelet.conf"
	writeFile(t, path, `{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"KubeletConfiguration","readOnlyPort":0,"maxPods":50,"featureGates":{"KubeletInUserNamespace":true}}`)
	server, err := parse(t.Context(), []string{"--config=" + path, "--max-pods=60", "--hostname-override=n"})
	if err != nil {
		t.Fatal(err)
	}
	if server.MaxPods != 60 || server.ReadOnlyPort != 0 || server.HostnameOverride != "n" || !server.FeatureGates["KubeletInUserNamespace"] {
		t.Errorf("%d, %d, %q, %v", server.MaxPods, server.ReadOnlyPort, server.HostnameOverride, server.FeatureGates)
	}
	if _, err := parse(t.Context(), []string{"--no-such-flag"}); err == nil {
		t.Error("an unknown flag was taken")
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
