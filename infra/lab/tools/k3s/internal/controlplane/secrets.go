package controlplane

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"gorkheavy.dev/lab/k3s/internal/layout"
	"gorkheavy.dev/lab/k3s/internal/settings"
	"gorkheavy.dev/lab/k3s/internal/token"
)

// Tokens are the secrets by which nodes join.
type Tokens struct{ Server, Agent string }

// EnsureTokens settles the join secrets and writes the token files. A token once used cannot be changed by the
// configuration: nodes that joined with it would be shut out without a word.
func EnsureTokens(s settings.Settings, caBundle []byte) (Tokens, error) {
	dir := s.Layout()
	secret, err := settle(dir.Server("token"), "server", s.Token, caBundle)
	if err != nil {
		return Tokens{}, fmt.Errorf("token: %w", err)
	}
	if err := link("token", dir.Server("node-token")); err != nil {
		return Tokens{}, err
	}
	if s.AgentToken == "" {
		return Tokens{Server: secret, Agent: secret}, link("token", dir.Server("agent-token"))
	}
	agent, err := token.Parse(s.AgentToken, "node")
	if err != nil {
		return Tokens{}, fmt.Errorf("agent-token: %w", err)
	}
	full := token.Token{CAHash: token.HashCA(caBundle), User: "node", Secret: agent.Secret}
	if err := os.Remove(dir.Server("agent-token")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return Tokens{}, err
	}
	return Tokens{Server: secret, Agent: agent.Secret}, layout.WriteFile(dir.Server("agent-token"), []byte(full.String()+"\n"), 0o600)
}

func settle(path, user, configured string, caBundle []byte) (string, error) {
	var kept token.Token
	content, err := os.ReadFile(path)
	if err == nil {
		if kept, err = token.Parse(string(content), user); err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	wanted := token.Token{Secret: kept.Secret}
	if configured != "" {
		if wanted, err = token.Parse(configured, user); err != nil {
			return "", err
		}
		if kept.Secret != "" && kept.Secret != wanted.Secret {
			return "", fmt.Errorf("this cluster was made with another token than the configured one; put that one back (%s keeps it) or remove the cluster's data", path)
		}
	}
	if wanted.Secret == "" {
		if wanted.Secret, err = token.NewSecret(); err != nil {
			return "", err
		}
	}
	full := token.Token{CAHash: token.HashCA(caBundle), User: user, Secret: wanted.Secret}
	return wanted.Secret, layout.WriteFile(path, []byte(full.String()+"\n"), 0o600)
}

func link(target, path string) error {
	if at, err := os.Readlink(path); err == nil && at == target {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Symlink(target, path)
}

// WriteKubeconfigs writes those of the control plane's parts, which name files, and the administrator's.
func WriteKubeconfigs(s settings.Settings) error {
	dir := s.Layout()
	if err := os.MkdirAll(dir.Server("cred"), 0o700); err != nil {
		return err
	}
	for part, certificate := range map[string]string{"admin": "client-admin", "supervisor": "client-supervisor", "controller": "client-controller", "scheduler": "client-scheduler"} {
		content := layout.FileKubeconfig(APIServerURL, dir.TLS("server-ca.crt"), dir.TLS(certificate+".crt"), dir.TLS(certificate+".key"))
		if err := layout.WriteFile(KubeconfigFor(dir, part), content, 0o600); err != nil {
			return err
		}
	}
	content, err := layout.InlineKubeconfig(SupervisorURL(s), dir.TLS("server-ca.crt"), dir.TLS("client-admin.crt"), dir.TLS("client-admin.key"))
	if err != nil {
		return err
	}
	mode, err := strconv.ParseUint(s.WriteKubeconfigMode, 8, 32)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(s.WriteKubeconfig), 0o755); err != nil {
		return err
	}
	return layout.WriteFile(s.WriteKubeconfig, content, os.FileMode(mode))
}

// EnsureEncryption writes the configuration of secrets at rest once; its key is never made anew, or every secret were lost.
func EnsureEncryption(s settings.Settings) error {
	path := s.Layout().Server("cred", "encryption-config.json")
	if _, err := os.Stat(path); err == nil || !s.SecretsEncryption {
		return nil
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	type object = map[string]any
	content, err := json.Marshal(object{
		"kind": "EncryptionConfiguration", "apiVersion": "apiserver.config.k8s.io/v1",
		"resources": []object{{
			"resources": []string{"secrets"},
			"providers": []object{
				{"aescbc": object{"keys": []object{{"name": "aescbckey", "secret": base64.StdEncoding.EncodeToString(key)}}}},
				{"identity": object{}},
			},
		}},
	})
	if err != nil {
		return err
	}
	return layout.WriteFile(path, content, 0o600)
}
