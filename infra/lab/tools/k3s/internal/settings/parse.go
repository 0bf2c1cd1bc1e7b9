package settings

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"sigs.k8s.io/yaml"

	"gorkheavy.dev/lab/k3s/internal/layout"
)

// DefaultPauseImage is the sandbox image of the lab's own airgap images.
const DefaultPauseImage = "gorkheavy.lab/pause:1"

// Parse reads the config files first and the arguments after them, so that an argument wins over a file.
func Parse(role Role, arguments []string) (Settings, error) {
	file, explicit := configPath(arguments)
	fromFiles, err := readConfig(file, explicit)
	if err != nil {
		return Settings{}, err
	}
	s := Settings{Role: role}
	set := s.flags()
	if err := set.Parse(append(fromFiles, arguments...)); err != nil {
		return Settings{}, fmt.Errorf("%s: %w (from the command line or %s)", role, err, file)
	}
	if rest := set.Args(); len(rest) > 0 {
		return Settings{}, fmt.Errorf("%s takes no arguments, got %q", role, rest[0])
	}
	if err := s.readSecrets(); err != nil {
		return Settings{}, err
	}
	if err := s.check(); err != nil {
		return Settings{}, err
	}
	return s, s.settleDNS()
}

func configPath(arguments []string) (path string, explicit bool) {
	path = layout.ConfigFile
	if given := os.Getenv("K3S_CONFIG_FILE"); given != "" {
		path, explicit = given, true
	}
	for index, argument := range arguments {
		for _, name := range []string{"--config", "-c"} {
			if value, found := strings.CutPrefix(argument, name+"="); found {
				path, explicit = value, true
			} else if argument == name && index+1 < len(arguments) {
				path, explicit = arguments[index+1], true
			}
		}
	}
	return path, explicit
}

// readConfig gives the flags of a config file and of the *.yaml files in the folder of its name with `.d`.
func readConfig(path string, mustExist bool) ([]string, error) {
	if _, err := os.Stat(path); mustExist && err != nil {
		return nil, fmt.Errorf("config file: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(path+".d", "*.yaml"))
	if err != nil {
		return nil, err
	}
	values := map[string][]string{}
	for _, file := range append([]string{path}, files...) {
		content, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		if err := mergeConfig(values, content); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return asFlags(values), nil
}

// mergeConfig lays one file over the earlier ones. `key` replaces what they said; `key+` adds to it.
func mergeConfig(values map[string][]string, content []byte) error {
	var document map[string]any
	if err := yaml.UnmarshalStrict(content, &document); err != nil {
		return err
	}
	for key, value := range document {
		texts, err := asTexts(key, value)
		if err != nil {
			return err
		}
		if name, adds := strings.CutSuffix(key, "+"); adds {
			values[name] = append(values[name], texts...)
		} else {
			values[key] = texts
		}
	}
	return nil
}

func asTexts(key string, value any) ([]string, error) {
	switch typed := value.(type) {
	case nil:
		return nil, nil
	case []any:
		var texts []string
		for _, item := range typed {
			inner, err := asTexts(key, item)
			if err != nil {
				return nil, err
			}
			texts = append(texts, inner...)
		}
		return texts, nil
	case map[string]any:
		return nil, fmt.Errorf("%s is a mapping, but must be a text, a number, true, false, or a list of these", key)
	case float64:
		return []string{strings.TrimSuffix(fmt.Sprintf("%.6f", typed), ".000000")}, nil
	default:
		return []string{fmt.Sprint(typed)}, nil
	}
}

func asFlags(values map[string][]string) []string {
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	sort.Strings(names)
	var flags []string
	for _, name := range names {
		for _, value := range values[name] {
			flags = append(flags, "--"+name+"="+value)
		}
	}
	return flags
}

func (s *Settings) readSecrets() error {
	for _, secret := range []struct {
		name   string
		file   string
		target *string
	}{{"token-file", s.TokenFile, &s.Token}, {"agent-token-file", s.AgentTokenFile, &s.AgentToken}} {
		if secret.file == "" || *secret.target != "" {
			continue
		}
		content, err := os.ReadFile(secret.file)
		if err != nil {
			return fmt.Errorf("%s: %w", secret.name, err)
		}
		if *secret.target = strings.TrimSpace(string(content)); *secret.target == "" {
			return fmt.Errorf("%s: %s is empty", secret.name, secret.file)
		}
	}
	if s.Role == Agent && s.Token == "" {
		return errors.New("token is not set: give --token-file or K3S_TOKEN (the server keeps it in /var/lib/rancher/k3s/server/node-token)")
	}
	return nil
}

// settleDNS puts the cluster's DNS at the tenth address of the services' network when it was not chosen.
func (s *Settings) settleDNS() error {
	if s.Role == Agent {
		return nil
	}
	address, err := NthAddress(s.ServiceCIDR, 10)
	if err != nil {
		return err
	}
	if s.ClusterDNS == "" {
		s.ClusterDNS = address
	}
	_, network, _ := net.ParseCIDR(s.ServiceCIDR)
	if parsed := net.ParseIP(s.ClusterDNS); parsed == nil || !network.Contains(parsed) {
		return fmt.Errorf("cluster-dns is %q, but must be an address of service-cidr %s", s.ClusterDNS, s.ServiceCIDR)
	}
	return nil
}

// NthAddress is the n-th (0 to 255) address of a network.
func NthAddress(cidr string, n byte) (string, error) {
	_, network, err := net.ParseCIDR(cidr)
	if err != nil {
		return "", err
	}
	address := slices.Clone(network.IP)
	address[len(address)-1] += n
	if !network.Contains(address) {
		return "", fmt.Errorf("%s has no address number %d", cidr, n)
	}
	return address.String(), nil
}
