package deploy

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"gorkheavy.dev/lab/k3s/internal/layout"
	"gorkheavy.dev/lab/k3s/internal/settings"
)

const (
	scanInterval = 3 * time.Second
	fieldManager = "k3s-deploy"
	// yamlBuffer is how far the reader looks to tell JSON from YAML, bytes.
	yamlBuffer = 4096
)

//go:embed packaged/*.yaml
var packaged embed.FS

// WritePackaged puts the packaged manifests where the user can read them, without those that are switched off.
func WritePackaged(s settings.Settings) error {
	entries, err := packaged.ReadDir("packaged")
	if err != nil {
		return err
	}
	values := strings.NewReplacer(
		"%{CLUSTER_DNS}%", s.ClusterDNS,
		"%{CLUSTER_DOMAIN}%", s.ClusterDomain,
		"%{LOCAL_STORAGE_PATH}%", s.LocalStoragePath,
	)
	for _, entry := range entries {
		path := s.Layout().Server("manifests", entry.Name())
		if s.Disabled(strings.TrimSuffix(entry.Name(), ".yaml")) {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			continue
		}
		content, err := packaged.ReadFile("packaged/" + entry.Name())
		if err != nil {
			return err
		}
		if err := layout.WriteFile(path, []byte(values.Replace(string(content))), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Applier applies every manifest of a folder, and again whenever a file changes.
type Applier struct {
	folder string
	client dynamic.Interface
	mapper *restmapper.DeferredDiscoveryRESTMapper
	done   map[string]string
}

// NewApplier watches folder for the cluster that config reaches.
func NewApplier(config *rest.Config, folder string) (*Applier, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	found, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(found))
	return &Applier{folder: folder, client: client, mapper: mapper, done: map[string]string{}}, nil
}

// Run applies until ctx ends. A file that fails is tried again at the next look.
func (a *Applier) Run(ctx context.Context) {
	ticker := time.NewTicker(scanInterval)
	defer ticker.Stop()
	for {
		for _, path := range a.files() {
			a.applyIfChanged(ctx, path)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// files lists the manifests; one with a sibling of the same name and `.skip` is left alone, as in K3s.
func (a *Applier) files() []string {
	var files []string
	_ = filepath.WalkDir(a.folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil
		}
		extension := filepath.Ext(path)
		if extension != ".yaml" && extension != ".yml" && extension != ".json" || strings.HasPrefix(entry.Name(), ".") {
			return nil
		}
		if _, err := os.Stat(path + ".skip"); err != nil {
			files = append(files, path)
		}
		return nil
	})
	return files
}

func (a *Applier) applyIfChanged(ctx context.Context, path string) {
	info, err := os.Stat(path)
	if err != nil {
		return
	}
	version := fmt.Sprint(info.ModTime().UnixNano(), info.Size())
	if a.done[path] == version {
		return
	}
	content, err := os.ReadFile(path)
	if err == nil {
		err = a.apply(ctx, content)
	}
	if err != nil {
		if ctx.Err() == nil {
			log.Printf("manifest %s: %v", path, err)
		}
		return
	}
	a.done[path] = version
	log.Printf("manifest %s is applied", path)
}

func (a *Applier) apply(ctx context.Context, content []byte) error {
	objects, err := decode(content)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if err := a.applyOne(ctx, object); err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}

func decode(content []byte) ([]*unstructured.Unstructured, error) {
	reader := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), yamlBuffer)
	var objects []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		if err := reader.Decode(object); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, err
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

func (a *Applier) applyOne(ctx context.Context, object *unstructured.Unstructured) error {
	kind := object.GroupVersionKind()
	mapping, err := a.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		a.mapper.Reset()
		mapping, err = a.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if err != nil {
		return err
	}
	var target dynamic.ResourceInterface = a.client.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		namespace := object.GetNamespace()
		if namespace == "" {
			namespace = metav1.NamespaceDefault
		}
		target = a.client.Resource(mapping.Resource).Namespace(namespace)
	}
	body, err := object.MarshalJSON()
	if err != nil {
		return err
	}
	force := true
	_, err = target.Patch(ctx, object.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: fieldManager, Force: &force})
	return err
}
