package layout

import (
	"encoding/base64"
	"fmt"
	"os"
)

// FileKubeconfig is a kubeconfig that names files, so that it holds no key itself.
func FileKubeconfig(server, caFile, certFile, keyFile string) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: local
  cluster:
    server: %s
    certificate-authority: %s
users:
- name: user
  user:
    client-certificate: %s
    client-key: %s
contexts:
- name: default
  context:
    cluster: local
    user: user
current-context: default
`, server, caFile, certFile, keyFile)
}

// InlineKubeconfig is a kubeconfig that holds everything, as K3s writes it for the administrator.
func InlineKubeconfig(server, caFile, certFile, keyFile string) ([]byte, error) {
	var encoded [3]string
	for index, path := range []string{caFile, certFile, keyFile} {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		encoded[index] = base64.StdEncoding.EncodeToString(content)
	}
	return fmt.Appendf(nil, `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: %s
    server: %s
  name: default
contexts:
- context:
    cluster: default
    user: default
  name: default
current-context: default
kind: Config
preferences: {}
users:
- name: default
  user:
    client-certificate-data: %s
    client-key-data: %s
`, encoded[0], server, encoded[1], encoded[2]), nil
}
