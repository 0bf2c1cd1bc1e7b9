// Package deploy does the server's duties inside the cluster: node passwords, labels, endpoints, packaged manifests.
package deploy

import (
	"context"
	"log"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"gorkheavy.dev/lab/k3s/internal/gateway"
	"gorkheavy.dev/lab/k3s/internal/token"
)

const system = metav1.NamespaceSystem

// Passwords keeps each node's password as a hash in a Secret, as K3s does.
type Passwords struct{ Client kubernetes.Interface }

func passwordSecret(nodeName string) string { return nodeName + ".node-password.k3s" }

// Ensure implements gateway.NodePasswords.
func (p Passwords) Ensure(ctx context.Context, nodeName, password string) error {
	secrets := p.Client.CoreV1().Secrets(system)
	known, err := secrets.Get(ctx, passwordSecret(nodeName), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		hash, err := token.HashPassword(password)
		if err != nil {
			return err
		}
		immutable := true
		_, err = secrets.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: passwordSecret(nodeName)},
			Immutable:  &immutable,
			Data:       map[string][]byte{"hash": []byte(hash)},
		}, metav1.CreateOptions{})
		if !apierrors.IsAlreadyExists(err) {
			return err
		}
		// Another request of the same name came first: its password counts.
		if known, err = secrets.Get(ctx, passwordSecret(nodeName), metav1.GetOptions{}); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if !token.CheckPassword(string(known.Data["hash"]), password) {
		return gateway.ErrNameTaken
	}
	return nil
}

// FreeNames forgets the password of a node when its Node object is deleted, so that a machine made anew may take the name.
func (p Passwords) FreeNames(ctx context.Context) error {
	factory := informers.NewSharedInformerFactory(p.Client, 0)
	nodes := factory.Core().V1().Nodes().Informer()
	if _, err := nodes.AddEventHandler(cache.ResourceEventHandlerFuncs{DeleteFunc: func(object any) {
		name, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object)
		if err != nil {
			return
		}
		err = p.Client.CoreV1().Secrets(system).Delete(ctx, passwordSecret(name), metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			log.Printf("node %s is deleted, but its password is not: %v", name, err)
			return
		}
		log.Printf("node %s is deleted and its name is free", name)
	}}); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	return nil
}
