package deploy

import (
	"context"
	"encoding/json"
	"log"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// dutyInterval is how often the duties are looked at; they write only what differs.
const dutyInterval = 10 * time.Second

// Duties are what a server keeps true about itself.
type Duties struct {
	Client kubernetes.Interface
	// NodeName is this server's node; Address and Port are where pods reach the API by.
	NodeName, Address string
	Port              int32
}

// Run keeps the duties until ctx ends.
func (d Duties) Run(ctx context.Context) {
	ticker := time.NewTicker(dutyInterval)
	defer ticker.Stop()
	for {
		for name, duty := range map[string]func(context.Context) error{"endpoint": d.ensureEndpoint, "node labels": d.ensureLabels} {
			if err := duty(ctx); err != nil && ctx.Err() == nil && !apierrors.IsNotFound(err) {
				log.Printf("%s: %v", name, err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// ensureLabels marks this server's node as the control plane, which a kubelet may not do for itself.
func (d Duties) ensureLabels(ctx context.Context) error {
	node, err := d.Client.CoreV1().Nodes().Get(ctx, d.NodeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	missing := map[string]string{}
	for _, role := range []string{"control-plane", "etcd", "master"} {
		if label := "node-role.kubernetes.io/" + role; node.Labels[label] != "true" {
			missing[label] = "true"
		}
	}
	if len(missing) == 0 {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": missing}})
	if err != nil {
		return err
	}
	_, err = d.Client.CoreV1().Nodes().Patch(ctx, d.NodeName, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	return err
}

// ensureEndpoint points the `kubernetes` Service at this server's gateway.
func (d Duties) ensureEndpoint(ctx context.Context) error {
	slices := d.Client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault)
	name, protocol, ready := "https", corev1.ProtocolTCP, true
	wanted := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "kubernetes", Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{d.Address}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &d.Port, Protocol: &protocol}},
	}
	known, err := slices.Get(ctx, "kubernetes", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = slices.Create(ctx, wanted, metav1.CreateOptions{})
		return err
	} else if err != nil {
		return err
	}
	if len(known.Endpoints) == 1 && len(known.Endpoints[0].Addresses) == 1 && known.Endpoints[0].Addresses[0] == d.Address &&
		len(known.Ports) == 1 && known.Ports[0].Port != nil && *known.Ports[0].Port == d.Port {
		return nil
	}
	wanted.ResourceVersion = known.ResourceVersion
	_, err = slices.Update(ctx, wanted, metav1.UpdateOptions{})
	return err
}
