// Package kubelet is the kubelet process. It is upstream's but for one thing: a machine of the lab shows the processors that
// its virtual machine was given, which the host may not have; the kernel is only ever told of processors that exist.
package kubelet

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	"k8s.io/kubernetes/pkg/kubelet/apis/config/validation"
	"k8s.io/kubernetes/pkg/kubelet/cadvisor"
	"k8s.io/kubernetes/pkg/kubelet/cm"
	"k8s.io/kubernetes/pkg/kubelet/kubeletconfig/configfiles"
	utilfs "k8s.io/kubernetes/pkg/util/filesystem"
)

// Run is the kubelet until ctx ends. A flag wins over the configuration file, as upstream has it.
func Run(ctx context.Context, arguments []string) error {
	server, err := parse(ctx, arguments)
	if err != nil {
		return err
	}
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(server.FeatureGates); err != nil {
		return err
	}
	logs.InitLogs()
	defer logs.FlushLogs()
	if err := logsapi.ValidateAndApplyAsField(&server.Logging, utilfeature.DefaultFeatureGate, field.NewPath("logging")); err != nil {
		return err
	}
	if err := validation.ValidateKubeletConfiguration(&server.KubeletConfiguration, utilfeature.DefaultFeatureGate); err != nil {
		return err
	}
	dependencies, err := app.UnsecuredDependencies(ctx, server, utilfeature.DefaultFeatureGate)
	if err != nil {
		return err
	}
	seen, err := cadvisor.New(cadvisor.NewImageFsInfoProvider(server.ContainerRuntimeEndpoint), server.RootDirectory,
		[]string{cm.NodeAllocatableRoot(server.CgroupRoot, server.CgroupsPerQOS, server.CgroupDriver)},
		cadvisor.UsingLegacyCadvisorStats(server.ContainerRuntimeEndpoint), server.LocalStorageCapacityIsolation)
	if err != nil {
		return err
	}
	dependencies.CAdvisorInterface = realProcessors{Interface: seen, cgroup: server.CgroupRoot}
	utilfeature.DefaultMutableFeatureGate.AddMetrics()
	return app.Run(ctx, server, dependencies, utilfeature.DefaultFeatureGate)
}

// parse reads the flags once for the name of the configuration file, and again over what the file says.
func parse(ctx context.Context, arguments []string) (*options.KubeletServer, error) {
	config, err := options.NewKubeletConfiguration()
	if err != nil {
		return nil, err
	}
	flags, err := parseOver(config, arguments)
	if err != nil {
		return nil, err
	}
	if flags.KubeletConfigFile != "" {
		loader, err := configfiles.NewFsLoader(&utilfs.DefaultFs{}, flags.KubeletConfigFile)
		if err != nil {
			return nil, err
		}
		if config, err = loader.Load(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", flags.KubeletConfigFile, err)
		}
		gates := config.FeatureGates
		config.FeatureGates = nil
		if flags, err = parseOver(config, arguments); err != nil {
			return nil, err
		}
		for name, enabled := range config.FeatureGates {
			if gates == nil {
				gates = map[string]bool{}
			}
			gates[name] = enabled
		}
		config.FeatureGates = gates
	}
	if err := options.ValidateKubeletFlags(flags); err != nil {
		return nil, err
	}
	return &options.KubeletServer{KubeletFlags: *flags, KubeletConfiguration: *config}, nil
}

func parseOver(config *kubeletconfig.KubeletConfiguration, arguments []string) (*options.KubeletFlags, error) {
	flags := options.NewKubeletFlags()
	set := pflag.NewFlagSet("kubelet", pflag.ContinueOnError)
	set.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	flags.AddFlags(set)
	options.AddKubeletConfigFlags(set, config)
	options.AddGlobalFlags(set)
	if err := set.Parse(arguments); err != nil {
		return nil, err
	}
	if rest := set.Args(); len(rest) > 0 {
		return nil, fmt.Errorf("unknown argument %q", rest[0])
	}
	return flags, nil
}
