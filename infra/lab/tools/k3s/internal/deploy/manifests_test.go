package deploy

import (
	"os"
	"strings"
	"testing"

	"gorkheavy.dev/lab/k3s/internal/settings"
)

func TestPackagedManifests(t *testing.T) {
	s := settings.Settings{DataDir: t.TempDir(), ClusterDNS: "10.99.0.10", ClusterDomain: "cluster.test", LocalStoragePath: "/volumes", Disable: []string{"metrics-server"}}
	if err := WritePackaged(s); err != nil {
		t.Fatal(err)
	}
	folder := s.Layout().Server("manifests")
	kinds := map[string]int{}
	files := (&Applier{folder: folder}).files()
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(content), "%{") {
			t.Errorf("%s: a placeholder is left", file)
		}
		objects, err := decode(content)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, object := range objects {
			kinds[object.GetKind()+"/"+object.GetName()]++
			if object.GetName() == "kube-dns" {
				if address := object.Object["spec"].(map[string]any)["clusterIP"]; address != "10.99.0.10" {
					t.Errorf("cluster DNS is at %v", address)
				}
			}
		}
	}
	for _, wanted := range []string{"Service/kube-dns", "StorageClass/local-path", "ClusterRoleBinding/system:k3s-controller"} {
		if kinds[wanted] != 1 {
			t.Errorf("%s is there %d times", wanted, kinds[wanted])
		}
	}
	if kinds["APIService/v1beta1.metrics.k8s.io"] != 0 {
		t.Error("metrics-server was switched off, but is written")
	}
	if err := os.WriteFile(files[0]+".skip", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if left := (&Applier{folder: folder}).files(); len(left) != len(files)-1 {
		t.Errorf("a skipped file is still applied: %q", left)
	}
}
